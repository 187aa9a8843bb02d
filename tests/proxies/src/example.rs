//! The binaries of the tonic example.

use std::{
    env::{self, consts::EXE_SUFFIX},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use programs::{Server, piped};
use tokio::{process::Command, sync::OnceCell};

/// Starts its server on a free port.
pub async fn server(args: &[&str]) -> anyhow::Result<Server> {
    Server::start(piped(binary("server").await?).args(args)).await
}

/// Returns where that binary is, built as this program was: Cargo does not build the binaries of
/// dependencies.
pub async fn binary(name: &str) -> anyhow::Result<PathBuf> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    let folder = FOLDER.get_or_try_init(build).await?;
    Ok(folder.join(format!("{name}{EXE_SUFFIX}")))
}

async fn build() -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "tonic-events", "--bins"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot start cargo")?;
    ensure!(status.success(), "cannot build the tonic example");

    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop(); // It is a test.
    }
    Ok(folder)
}
