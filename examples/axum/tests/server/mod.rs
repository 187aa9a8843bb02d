use programs::{Server, piped};
use tokio::process::Command;

pub fn command(args: &[&str]) -> Command {
    let mut command = piped(env!("CARGO_BIN_EXE_sse"));
    command.args(args);
    command
}

pub async fn start(args: &[&str]) -> Server {
    Server::start(&mut command(args)).await.unwrap()
}
