use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Replaces the text of a page between `<!-- name -->` and `<!-- end of name -->`.
pub fn fill(page: impl AsRef<Path>, name: &str, table: &str) -> Result<()> {
    let page = page.as_ref();
    let text = fs::read_to_string(page);
    let text = text.with_context(|| format!("cannot read {}", page.display()))?;
    let filled = replace(&text, name, table)
        .with_context(|| format!("{} does not have the marks of {name:?}", page.display()))?;
    fs::write(page, filled).with_context(|| format!("cannot write {}", page.display()))
}

fn replace(text: &str, name: &str, table: &str) -> Option<String> {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some([before, &begin, table, &end, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "a\n<!-- t -->\nold\n<!-- end of t -->\nb\n";

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
