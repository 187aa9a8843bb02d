//! The library without its default features.

use std::{env, fs, path::Path, process::Command};

/// Returns the output of `cargo check` for a crate that uses the library without the feature `tokio`.
fn check(name: &str, main: &str) -> (bool, String) {
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

#[test]
fn polling_with_the_default_timer_is_an_error_that_says_what_to_do() {
    for (name, stream) in [
        ("default-method", "inner.keepalive(idle, 0)"),
        ("default-keepalive", "Keepalive::new(inner, idle, || 0)"),
        ("default-timeout", "IdleTimeout::new(inner, idle)"),
    ] {
        let (built, stderr) = check(
            name,
            &format!(
                r#"
#![allow(unused_imports)]
use core::time::Duration;
use futures_core::Stream;
use stream_keepalive::{{IdleTimeout, Keepalive, KeepaliveExt}};

pub fn keep(inner: impl Stream<Item = u8>, idle: Duration) -> impl Stream<Item = u8> {{
    {stream}
}}
"#
            ),
        );
        assert!(!built, "{stream}");
        for hint in [
            "`TokioTimer` is not a timer",
            "feature `tokio`",
            ".with_timer(..)",
        ] {
            assert!(stderr.contains(hint), "{stream}: {stderr}");
        }
    }
}

#[test]
fn calling_a_method_with_the_default_timer_is_error_e0599() {
    let (built, stderr) = check(
        "default-next",
        r#"
use core::time::Duration;
use futures_core::Stream;
use stream_keepalive::KeepaliveExt;

// As in the crate `futures`.
trait StreamExt: Stream {
    fn next(&mut self) {}
}

impl<S: Stream + ?Sized> StreamExt for S {}

pub fn next(inner: impl Stream<Item = u8>, idle: Duration) {
    inner.keepalive(idle, 0).next();
}
"#,
    );
    assert!(!built);
    assert!(stderr.contains("E0599"), "{stderr}");
    assert!(stderr.contains(": Stream`"), "{stderr}");
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
