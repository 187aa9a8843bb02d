#![doc = include_str!("../../../docs/recipes.md")]

pub mod blocking;
pub mod grpc;
pub mod lagged;
pub mod late;
pub mod lifetime;
#[doc = include_str!("../../../docs/migrating.md")]
pub mod migrating {}
pub mod multipart;
pub mod ndjson;
#[cfg(test)]
mod published;
pub mod relay;
pub mod resume;
#[cfg(test)]
mod served;
pub mod shutdown;
pub mod sse;
pub mod two_clocks;

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn the_scripts_of_the_page_are_those_of_the_examples() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let files = [
            "cli/src/watchdog.js",
            "sse/src/page/events.js",
            "sse/src/page/index.html",
            "sse/src/page/shared.js",
        ];
        let files = files.map(|file| fs::read_to_string(format!("{folder}/{file}")).unwrap());
        let page = include_str!("../../../docs/recipes.md");
        let scripts: Vec<_> = page.split("```js\n").skip(1).collect();
        assert!(!scripts.is_empty());
        for script in scripts {
            let (script, _) = script.split_once("```").unwrap();
            let found = files.iter().any(|file| file.contains(script));
            assert!(found, "no example has this script:\n{script}");
        }
    }
}
