//! Writes tables into Markdown pages.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Writes a table. As in Markdown, a colon at the end of a heading aligns the column to the right; it is not shown.
pub fn table<R>(headings: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let names: Vec<_> = headings
        .iter()
        .map(|heading| heading.trim_end_matches(':'))
        .collect();
    let lines: String = headings
        .iter()
        .map(|heading| {
            if heading.ends_with(':') {
                "---:|"
            } else {
                "---|"
            }
        })
        .collect();
    let mut table = format!("| {} |\n|{lines}\n", names.join(" | "));
    for row in rows {
        let cells: Vec<_> = row.into_iter().collect();
        assert_eq!(cells.len(), headings.len(), "a cell for each heading");
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

/// Replaces the text of a page between `<!-- name -->` and `<!-- end of name -->`.
pub fn fill(page: impl AsRef<Path>, name: &str, text: &str) -> Result<()> {
    let page = page.as_ref();
    let old = fs::read_to_string(page);
    let old = old.with_context(|| format!("cannot read {}", page.display()))?;
    let filled = replace(&old, name, text)
        .with_context(|| format!("{} does not have the marks of {name:?}", page.display()))?;
    fs::write(page, filled).with_context(|| format!("cannot write {}", page.display()))
}

fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some([before, &begin, text, &end, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "a\n<!-- t -->\nold\n<!-- end of t -->\nb\n";

    #[test]
    fn a_table_has_a_cell_for_each_heading_and_aligns_figures_to_the_right() {
        let row = |name: &str, figure: u32| [name.to_owned(), figure.to_string()];
        let table = table(&["name", "T: ns:"], [row("a", 1), row("b", 20)]);
        assert_eq!(
            table,
            "| name | T: ns |\n|---|---:|\n| a | 1 |\n| b | 20 |\n"
        );
    }

    #[test]
    #[should_panic(expected = "a cell for each heading")]
    fn a_row_with_too_few_cells_is_a_mistake() {
        table(&["a", "b"], [["1".to_owned()]]);
    }

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let filled = replace(PAGE, "t", "new\n").unwrap();
        assert_eq!(filled, PAGE.replace("old", "new"));
    }

    #[test]
    fn a_page_without_both_marks_is_left_alone() {
        assert_eq!(replace(PAGE, "u", "new\n"), None);
        assert_eq!(replace("<!-- t -->\nold\n", "t", "new\n"), None);
    }
}
