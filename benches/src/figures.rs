//! The option that writes the figures to a file.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

// No doc comment: clap would print it in front of a program's own.
#[derive(Clone, Debug, Args)]
pub struct File {
    /// Also write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl File {
    pub fn write(&self, figures: &impl Serialize) -> Result<()> {
        let Some(file) = &self.json else {
            return Ok(());
        };
        let text = serde_json::to_string_pretty(figures)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}
