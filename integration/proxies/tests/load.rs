//! The program `load`, with few subscribers.

use std::process::{Command, Output};

fn load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load"))
        .args(args)
        .output()
        .expect("cannot start")
}

#[test]
#[ignore = "needs nginx: run .ci/install"]
fn idle_subscribers_behind_nginx_stay_connected_and_get_their_event() {
    // Longer than the timeout of nginx, which is 10 s.
    let output = load(&["50", "--idle", "12s"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.contains("dropped         0\n"), "{stdout}");
    assert!(stdout.contains("reached 50 subscribers,"), "{stdout}");
}

#[test]
#[ignore = "needs nginx: run .ci/install"]
fn without_keepalives_nginx_drops_them_and_the_command_fails() {
    let output = load(&["5", "--idle", "12s", "--keepalive", "0s"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr.starts_with("error: 5 of 5 subscribers were dropped: "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn more_subscribers_than_open_files_allow_are_an_error_of_one_line() {
    let output = load(&["4000000000"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr.contains("raise the hard limit"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
