//! Compresses idle responses, and writes into docs/proxies.md when their keepalives arrive:
//! `cargo run -p proxies --bin compression`

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use proxies::{
    compression::{COMPRESSORS, Content, run},
    scenario::PAGE,
};

/// Compresses idle responses, and writes into docs/proxies.md when their keepalives arrive.
#[derive(Parser)]
struct Args {}

#[tokio::main]
async fn main() -> ExitCode {
    let Args {} = cli::parse();
    cli::exit_code(write_table().await)
}

async fn write_table() -> Result<()> {
    let mut table =
        "| what compresses | content | `no-cache` | `no-cache, no-transform` |\n".to_owned();
    table += "|---|---|---|---|\n";
    for compressor in &COMPRESSORS {
        for content in Content::ALL {
            let what = || format!("{}, {content}", compressor.description);
            // One after the other, so that they do not delay each other.
            let with = run(compressor, content, false).await.with_context(what)?;
            let without = run(compressor, content, true).await.with_context(what)?;
            table += &format!(
                "| {} | {content} | {with} | {without} |\n",
                compressor.description
            );
        }
    }
    print!("{table}");
    cli::fill(PAGE, "compression", &table)
}
