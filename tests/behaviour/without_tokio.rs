//! The library without its default features.

use crate::support::package::cargo;

/// Returns the output of `cargo check` for a crate that uses the library without the feature `tokio`.
pub fn check(name: &str, code: &str) -> (bool, String) {
    let manifest = r#"default-features = false }
futures-core = { version = "0.3", default-features = false }"#;
    let output = cargo(&["check"], name, manifest, &[("lib.rs", code)]);
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

/// Two crates that do not compile. The first uses an adapter as a stream, and the second calls its methods.
const USES: [&str; 2] = [
    "
pub fn streams(inner: impl Stream<Item = u8>, idle: Duration) -> [impl Stream; 1] {
    [TIMED]
}
",
    "
pub fn polls(inner: impl Stream<Item = u8> + Unpin, idle: Duration, cx: &mut Context<'_>) {
    let mut stream = TIMED;
    _ = Pin::new(&mut stream).poll_next(cx);
}
",
];

fn using(usage: &str, adapter: &str) -> String {
    let head = "
use core::{pin::Pin, task::Context, time::Duration};
use futures_core::Stream;
use stream_keepalive::{IdleTimeout, Keepalive, KeepaliveExt};
";
    format!(
        "#![allow(unused_imports)]{head}{}",
        usage.replace("TIMED", adapter)
    )
}

/// What the error says about the timers.
const TIMERS: [&str; 4] = [
    "a `TokioTimer`, which is the default, a `SharedTimer` from `SharedTimers`, a `SleepTimer`, or a type of your own",
    "`.with_timer(..)`",
    "need the feature `tokio`",
    "wasm32-unknown-unknown",
];

#[test]
fn the_error_of_an_adapter_without_a_timer_names_all_timers() {
    for (timer, with_timer) in [("TokioTimer", ""), ("u8", ".with_timer(0_u8)")] {
        for adapter in [
            "inner.keepalive(idle, 0)",
            "Keepalive::new(inner, idle, || 0)",
            "IdleTimeout::new(inner, idle)",
        ] {
            let adapter = format!("{adapter}{with_timer}");
            let (built, stderr) = check("streams", &using(USES[0], &adapter));
            assert!(!built);
            let error = format!("error[E0277]: `{timer}` is not a timer");
            for hint in TIMERS.into_iter().chain([&*error]) {
                assert!(stderr.contains(hint), "{hint}: {stderr}");
            }
        }
    }
}

#[test]
fn the_methods_of_an_adapter_without_a_timer_do_not_compile() {
    let (built, stderr) = check("polls", &using(USES[1], "inner.keepalive(idle, 0)"));
    assert!(!built);
    assert!(stderr.contains("error[E0599]"), "{stderr}");
    assert!(stderr.contains("Timer"), "{stderr}");
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
