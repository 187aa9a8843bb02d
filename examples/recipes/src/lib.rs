//! Streams of many kinds, kept alive. docs/recipes.md explains each module.

pub mod blocking;
pub mod grpc;
pub mod lagged;
pub mod late;
pub mod lifetime;
#[doc = include_str!("../../../docs/migrating.md")]
pub mod migrating {}
pub mod models;
pub mod multipart;
pub mod ndjson;
#[cfg(test)]
mod paused;
#[cfg(test)]
mod published;
pub mod relay;
pub mod resume;
#[cfg(test)]
mod served;
pub mod shutdown;
pub mod slow_json;
pub mod sse;
pub mod two_clocks;

#[cfg(test)]
mod tests {
    use std::fs;

    const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

    /// Where the code of the page comes from.
    const FOLDERS: [&str; 5] = [
        "axum/pages",
        "axum/src",
        "axum/src/bin",
        "nats/src",
        "recipes/src",
    ];

    /// Removes the indentation, because the page shows methods and parts of scripts too.
    fn unindented(text: &str) -> String {
        text.lines()
            .map(|line| line.trim_start().to_owned() + "\n")
            .collect()
    }

    #[test]
    fn the_code_of_the_page_is_that_of_the_examples() {
        let mut files = Vec::new();
        for folder in FOLDERS {
            for entry in fs::read_dir(format!("{EXAMPLES}/{folder}")).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    files.push("\n".to_owned() + &unindented(&fs::read_to_string(path).unwrap()));
                }
            }
        }
        let page = include_str!("../../../docs/recipes.md");
        let mut blocks = page.split("\n```").skip(1).step_by(2).peekable();
        assert!(blocks.peek().is_some());
        for block in blocks {
            let (language, code) = block.split_once('\n').unwrap();
            assert!(["js", "rust"].contains(&language), "{language}");
            let code = format!("\n{}\n", unindented(code).trim_end());
            let found = files.iter().any(|file| file.contains(&code));
            assert!(found, "no example has this code:{code}");
        }
    }
}
