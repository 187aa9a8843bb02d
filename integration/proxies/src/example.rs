//! The binaries of the examples.

use std::{
    env::{self, consts::EXE_SUFFIX},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use programs::{Server, piped};
use tokio::{process::Command, sync::OnceCell};

/// A package of examples/.
struct Example {
    package: &'static str,
    /// The folder of its binaries, when they have been built.
    folder: OnceCell<PathBuf>,
}

static TONIC: Example = Example::new("tonic-events");
static AXUM: Example = Example::new("axum-events");

/// Starts the server of the tonic example on a free port.
pub async fn server(args: &[&str]) -> anyhow::Result<Server> {
    TONIC.server("server", args).await
}

/// Starts the server of server-sent events on a free port.
pub async fn sse_server(args: &[&str]) -> anyhow::Result<Server> {
    AXUM.server("sse", args).await
}

/// Returns the path of a binary of the tonic example.
pub async fn binary(name: &str) -> anyhow::Result<PathBuf> {
    TONIC.binary(name).await
}

impl Example {
    const fn new(package: &'static str) -> Self {
        let folder = OnceCell::const_new();
        Self { package, folder }
    }

    async fn server(&self, name: &str, args: &[&str]) -> anyhow::Result<Server> {
        Server::start(piped(self.binary(name).await?).args(args)).await
    }

    /// Returns the path of a binary, and builds it with the profile of this program if necessary. Cargo does
    /// not build the binaries of dependencies.
    async fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.get_or_try_init(|| build(self.package)).await?;
        Ok(folder.join(format!("{name}{EXE_SUFFIX}")))
    }
}

async fn build(package: &str) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", package, "--bins"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot start cargo")?;
    ensure!(status.success(), "cannot build {package}");

    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop(); // This program is a test, which Cargo puts into a subfolder.
    }
    Ok(folder)
}
