//! Compresses idle responses, and writes into docs/proxies.md when their keepalives arrive:
//! `cargo run -p proxies --bin compression`

use anyhow::{Context, Result};
use clap::Parser;
use programs::markdown;
use proxies::{
    compression::{COMPRESSORS, Content, run},
    scenario::PAGE,
};

/// Compresses idle responses, and writes into docs/proxies.md when their keepalives arrive.
#[derive(Parser)]
struct Args {}

#[tokio::main]
async fn main() -> Result<()> {
    let Args {} = Args::parse();
    let headings = [
        "what compresses",
        "content",
        "`no-cache`",
        "`no-cache, no-transform`",
    ];
    let mut rows = Vec::new();
    for compressor in &COMPRESSORS {
        for content in Content::ALL {
            let what = || format!("{}, {content}", compressor.description);
            // One after the other, so that they do not delay each other.
            let with = run(compressor, content, false).await.with_context(what)?;
            let without = run(compressor, content, true).await.with_context(what)?;
            rows.push([
                compressor.description.to_owned(),
                content.to_string(),
                with.to_string(),
                without.to_string(),
            ]);
        }
    }
    let table = markdown::table(&headings, rows);
    print!("{table}");
    markdown::fill(PAGE, "compression", &table)
}
