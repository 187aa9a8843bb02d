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

const USES: &str = "
use core::{pin::Pin, task::Context, time::Duration};
use futures_core::Stream;
use stream_keepalive::{IdleTimeout, Keepalive, KeepaliveExt};
";

#[test]
fn the_error_of_an_adapter_without_a_timer_names_all_timers() {
    let adapters = [
        "inner.keepalive(idle, 0)",
        "Keepalive::new(inner, idle, || 0)",
        "IdleTimeout::new(inner, idle)",
    ];
    let mut code = format!("#![allow(unused_imports)]{USES}");
    for (i, adapter) in adapters.iter().enumerate() {
        for (timer, with_timer) in [("default", ""), ("number", ".with_timer(0_u8)")] {
            code += &format!(
                "
pub fn {timer}_{i}(inner: impl Stream<Item = u8>, idle: Duration) -> impl Stream {{
    {adapter}{with_timer}
}}
"
            );
        }
    }
    let (built, stderr) = check("unnamed", &code);
    assert!(!built);
    for (hint, count) in [
        ("error[E0277]: `TokioTimer` is not a timer", 3),
        ("error[E0277]: `u8` is not a timer", 3),
        (
            "a `TokioTimer`, which is the default, a `SharedTimer` from `SharedTimers`, a `SleepTimer`, or a type of your own",
            6,
        ),
        ("`.with_timer(..)`", 6),
        ("need the feature `tokio`", 6),
        ("wasm32-unknown-unknown", 6),
    ] {
        assert_eq!(stderr.matches(hint).count(), count, "{hint}: {stderr}");
    }
}

#[test]
fn the_methods_of_an_adapter_without_a_timer_do_not_compile() {
    let code = "
pub fn poll(inner: impl Stream<Item = u8> + Unpin, idle: Duration, cx: &mut Context<'_>) {
    _ = Pin::new(&mut inner.keepalive(idle, 0)).poll_next(cx);
}
";
    let (built, stderr) = check("polled", &format!("#![allow(unused_imports)]{USES}{code}"));
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
