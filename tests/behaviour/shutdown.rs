//! The end of a runtime in which timers are armed.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use futures::{Stream, StreamExt, poll, stream};
use stream_keepalive::{KeepaliveExt, SharedTimers, Timer, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio_test::task::spawn;

use crate::support::{package::cargo, panics::panic_of};

const HOUR: Duration = Duration::from_secs(3600);

const SHUT_DOWN: &str = "stream-keepalive: the runtime of these shared timers has been shut down";

/// Builds the program so that a panic aborts it, and runs it.
fn run(name: &str, features: &str, files: &[(&str, &str)], args: &[&str]) -> Output {
    let manifest = format!(
        r#"features = ["tokio"] }}
futures-core = {{ version = "0.3", default-features = false }}
tokio = {{ version = "1.44", features = ["rt-multi-thread", "time"] }}

[features]
default = [{features}]
changed = []

[profile.dev]
panic = "abort"
"#
    );
    let main = ("main.rs", include_str!("shutdown_program.rs"));
    let built = cargo(&["build"], name, &manifest, &[files, &[main]].concat());
    let stderr = String::from_utf8(built.stderr).unwrap();
    assert!(built.status.success(), "{stderr}");
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("debug")
        .join(file);
    Command::new(program).args(args).output().unwrap()
}

/// Expects the program to end normally, and to print nothing else.
fn is_done(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "", "{}", output.status);
    assert_eq!(output.stdout, b"done\n", "{}", output.status);
}

#[test]
fn a_program_that_aborts_at_a_panic_survives_the_end_of_its_runtimes() {
    is_done(&run("shutdown", "", &[], &[]));
    // A poll after that panics.
    for (stream, message) in [
        ("12", "is being shutdown"),
        ("13", SHUT_DOWN),
        ("14", "is being shutdown"),
    ] {
        let output = run("shutdown", "", &[], &[stream]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(message), "{stderr}");
        assert_eq!(stderr.matches("panicked at").count(), 1, "{stderr}");
        assert!(!output.status.success());
    }
}

/// The compiler defines `target_has_atomic`, so the test runs a copy of the source without it.
#[test]
fn the_shared_timers_work_on_a_target_without_64_bit_atomics() {
    let has_atomic = r#"target_has_atomic = "64""#;
    let source = ["queue.rs", "shared.rs", "task.rs"].map(|file| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/timer/tokio");
        let source = fs::read_to_string(format!("{folder}/{file}")).unwrap();
        (file, source.replace(has_atomic, "any()"), source)
    });
    assert!(source.iter().any(|(_, changed, source)| changed != source));
    let files = source
        .each_ref()
        .map(|(file, changed, _)| (*file, &**changed));
    is_done(&run("without-atomics", r#""changed""#, &files, &[]));
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn runtimes() -> Vec<Runtime> {
    let mut builders = [
        Builder::new_current_thread(),
        Builder::new_multi_thread(),
        #[cfg(tokio_unstable)]
        {
            let mut builder = Builder::new_multi_thread();
            builder.enable_alt_timer();
            builder
        },
    ];
    let build = |builder: &mut Builder| builder.enable_time().build().unwrap();
    builders.iter_mut().map(build).collect()
}

/// A stream that has been polled once in this runtime, and that is idle for long.
fn waiting<T: Timer + Unpin>(
    runtime: &Runtime,
    timer: T,
) -> impl Stream<Item = ()> + Unpin + use<T> {
    let mut events = stream::pending().keepalive(HOUR, ()).with_timer(timer);
    runtime.block_on(async { assert!(poll!(events.next()).is_pending()) });
    events
}

#[test]
fn streams_of_other_runtimes_continue_with_timers_of_their_own() {
    for first in runtimes() {
        let second = paused();
        let _of_the_first = waiting(&first, TokioTimer::new());
        let mut of_the_second = waiting(&second, TokioTimer::new());
        drop(first);
        second.block_on(async { assert_eq!(of_the_second.next().await, Some(())) });
    }
}

#[test]
fn streams_of_other_runtimes_panic_if_their_queue_belongs_to_the_runtime_that_ends() {
    for first in runtimes() {
        let (second, timers) = (paused(), SharedTimers::new());
        let _of_the_first = waiting(&first, timers.timer());
        let mut of_the_second = waiting(&second, timers.timer());
        let mut task = spawn(());
        task.enter(|cx, _| assert!(of_the_second.poll_next_unpin(cx).is_pending()));
        drop(first);
        assert!(task.is_woken());
        let made_later = stream::pending()
            .keepalive(HOUR, ())
            .with_timer(timers.timer());
        let streams: [&mut (dyn Stream<Item = ()> + Unpin); 2] =
            [&mut of_the_second, &mut { made_later }];
        for events in streams {
            let panic = panic_of(|| second.block_on(events.next()));
            assert_eq!(panic.message, SHUT_DOWN);
        }
    }
}

#[test]
fn a_stream_that_is_polled_after_the_end_of_its_runtime_panics_whatever_the_runtime() {
    for runtime in runtimes() {
        let mut events = waiting(&runtime, TokioTimer::new());
        drop(runtime);
        let panic = panic_of(|| futures::executor::block_on(events.next()));
        assert!(panic.message.contains("shut"), "{panic:?}");
    }
}

#[test]
fn a_stream_that_is_polled_after_the_end_of_the_thread_that_owned_its_runtime_panics() {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
    }
    let timers = SharedTimers::new();
    let timer = timers.timer();
    let thread = thread::spawn(|| RUNTIME.with(|runtime| waiting(runtime, timer)));
    let mut events = thread.join().unwrap();
    let panic = panic_of(|| paused().block_on(events.next()));
    assert_eq!(panic.message, SHUT_DOWN);
}
