//! The library without its default features.

use std::{env, fs, path::Path, process::Command};

/// Returns the output of `cargo check` for a crate that uses the library without the feature `tokio`.
pub fn check(name: &str, main: &str) -> (bool, String) {
    let library = env!("CARGO_MANIFEST_DIR");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        r#"
[package]
name = "{name}"
edition = "2024"

[dependencies]
stream-keepalive = {{ path = {library:?}, default-features = false }}
futures-core = {{ version = "0.3", default-features = false }}

[workspace]
"#
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), main).unwrap();
    // Uses the versions in this workspace's Cargo.lock, because they have been downloaded.
    fs::copy(
        Path::new(library).join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )
    .unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--quiet",
            "--color=never",
            "--target-dir",
        ])
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .current_dir(&folder)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), stderr)
}

#[test]
fn it_builds_without_std_and_alloc() {
    let (built, stderr) = check(
        "bare",
        r#"
#![no_std]
use core::{task::{Context, Poll}, time::Duration};
use futures_core::Stream;
use stream_keepalive::{IdleTimeout, Keepalive, Repeat, Timer};

pub struct Never;

impl Timer for Never {
    fn arm(&mut self, _: Duration) {}
    fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<()> { Poll::Pending }
}

pub type Kept<S> = Keepalive<IdleTimeout<S, fn() -> u8, Never>, Repeat<u8>, Never>;

pub fn keep<S: Stream<Item = u8>>(inner: S, idle: Duration) -> Kept<S> {
    let bounded = IdleTimeout::new(inner, idle * 10).with_timer(Never);
    Keepalive::new(bounded, idle, Repeat(0)).with_timer(Never).immediate()
}
"#,
    );
    assert!(built, "{stderr}");
}

/// An extension trait with three of the method names of `futures::StreamExt`.
const STREAM_EXT: &str = r#"
use core::{pin::Pin, task::Context, time::Duration};
use futures_core::Stream;
use stream_keepalive::{IdleTimeout, Keepalive, KeepaliveExt};

pub trait StreamExt: Stream {
    fn next(&mut self) {}
    fn poll_next_unpin(&mut self, _: &mut Context<'_>) {}
    fn map(self, _: impl Fn(Self::Item)) where Self: Sized {}
}

impl<S: Stream + ?Sized> StreamExt for S {}
"#;

#[test]
fn polling_with_the_default_timer_is_an_error_that_says_what_to_do() {
    let adapters = [
        "inner.keepalive(idle, 0)",
        "Keepalive::new(inner, idle, || 0)",
        "IdleTimeout::new(inner, idle)",
    ];
    let uses = [
        "fn use_it(stream: impl Stream) {} use_it(stream);",
        "stream.next();",
        "core::pin::pin!(stream).next();",
        "stream.poll_next_unpin(cx);",
        "Pin::new(&mut stream).poll_next(cx);",
    ];
    let mut code = STREAM_EXT.to_owned();
    for (i, adapter) in adapters.iter().enumerate() {
        for (k, usage) in uses.iter().enumerate() {
            code += &format!(
                "
pub fn case_{i}_{k}(inner: impl Stream<Item = u8> + Unpin, idle: Duration, cx: &mut Context<'_>) {{
    let mut stream = {adapter};
    {usage}
}}
"
            );
        }
    }
    let (built, stderr) = check("polled", &code);
    assert!(!built);
    let cases = adapters.len() * uses.len();
    for hint in [
        "error[E0277]: `TokioTimer` is not a timer",
        "needs the feature `tokio`",
        ".with_timer(..)",
    ] {
        assert_eq!(stderr.matches(hint).count(), cases, "{hint}: {stderr}");
    }
    assert_eq!(stderr.matches("error[").count(), cases, "{stderr}");
}

#[test]
fn another_method_with_the_default_timer_is_error_e0599() {
    let code = "pub fn map(inner: impl Stream<Item = u8>, idle: Duration) {
    inner.keepalive(idle, 0).map(|_| ());
}

pub fn keepalive(inner: impl Stream<Item = u8>, idle: Duration) {
    inner.idle_timeout(idle).keepalive(idle, 0);
}";
    let (built, stderr) = check("mapped", &format!("{STREAM_EXT}{code}"));
    assert!(!built);
    assert_eq!(stderr.matches("error[E0599]").count(), 2, "{stderr}");
    assert!(stderr.contains(": Stream`"), "{stderr}");
}

#[test]
fn methods_of_the_same_names_work_with_another_timer() {
    let code =
        "pub fn poll(inner: impl Stream<Item = u8> + Unpin, idle: Duration, cx: &mut Context<'_>) {
    let sleep = |_| core::future::ready(());
    let mut stream = inner.keepalive(idle, 0).with_timer(stream_keepalive::SleepTimer::new(sleep));
    stream.next();
    core::pin::pin!(&mut stream).next();
    stream.poll_next_unpin(cx);
    let _ = Pin::new(&mut stream).poll_next(cx);
}";
    let (built, stderr) = check("other-timer", &format!("{STREAM_EXT}{code}"));
    assert!(built, "{stderr}");
}

#[test]
fn an_adapter_that_is_not_polled_needs_no_timer() {
    let (built, stderr) = check(
        "not-polled",
        r#"
use core::time::Duration;
use futures_core::Stream;
use stream_keepalive::{Keepalive, KeepaliveExt, Repeat};

pub fn keep<S: Stream<Item = u8>>(inner: S, idle: Duration) -> Keepalive<S, Repeat<u8>> {
    inner.keepalive(idle, 0).immediate()
}
"#,
    );
    assert!(built, "{stderr}");
}
