use programs::{Program, Server, piped};

pub const SERVER: &str = env!("CARGO_BIN_EXE_server");
pub const CLIENT: &str = env!("CARGO_BIN_EXE_client");
pub const DEMO: &str = env!("CARGO_BIN_EXE_demo");
pub const INVISIBLE: &str = env!("CARGO_BIN_EXE_invisible");

/// Starts one of the binaries.
pub fn start(program: &str, args: &[&str]) -> Program {
    let mut command = piped(program);
    command.args(args).env("RUST_BACKTRACE", "1");
    Program::start(&mut command).unwrap()
}

/// Starts the server on a free port, and returns it with its address.
pub async fn server(args: &[&str]) -> (Program, String) {
    let mut command = piped(SERVER);
    command.args(args).env("RUST_BACKTRACE", "1");
    let Server { addr, program } = Server::start(&mut command).await.unwrap();
    (program, addr.to_string())
}
