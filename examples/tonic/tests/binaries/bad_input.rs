use std::net::TcpListener;

use crate::process::{CLIENT, DEMO, SERVER, start};

#[tokio::test]
async fn a_port_in_use_is_an_error_of_one_line() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap().to_string();
    let line = only_line(SERVER, &["--listen", &addr], 1).await;
    assert!(
        line.starts_with(&format!("error: cannot listen on {addr}: ")),
        "{line}"
    );
}

#[tokio::test]
async fn an_argument_that_does_not_parse_is_an_error_of_one_line() {
    for (program, args, what) in [
        (SERVER, ["--listen", "here"], "invalid socket address"),
        (
            SERVER,
            ["--listen", "127.0.0.1:99999"],
            "invalid socket address",
        ),
        (SERVER, ["--keepalive", "soon"], "expected number"),
        (SERVER, ["--keepalive", "20"], "time unit needed"),
        (SERVER, ["--ping", "5x"], "unknown time unit"),
        (CLIENT, ["--idle-timeout", "-1s"], "unexpected argument"),
        (
            CLIENT,
            ["--connect", "localhost:50051"],
            "begin with http://",
        ),
        (
            CLIENT,
            ["--connect", "https://localhost"],
            "begin with http://",
        ),
        (CLIENT, ["--connect", "http://local host"], "invalid uri"),
        (DEMO, ["--keepalive", "1 light year"], "unknown time unit"),
    ] {
        let line = only_line(program, &args, 2).await;
        assert!(line.contains(what), "{args:?}: {line}");
        // The error names the argument.
        let named = line.contains(args[0]) || line.contains("'-1'");
        assert!(named, "{args:?}: {line}");
    }
}

#[tokio::test]
async fn a_missing_argument_is_an_error_of_one_line() {
    let line = only_line(CLIENT, &[], 2).await;
    assert!(line.contains("--connect <URL>"), "{line}");
}

/// Expects one line on stderr and none on stdout, and returns the line.
async fn only_line(program: &str, args: &[&str], code: i32) -> String {
    let mut process = start(program, args);
    assert_eq!(
        process.ended().await.unwrap().code(),
        Some(code),
        "{args:?}"
    );
    assert_eq!(process.stdout.rest().await.unwrap(), [""; 0]);
    let mut lines = process.stderr.rest().await.unwrap();
    assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
    lines.remove(0)
}
