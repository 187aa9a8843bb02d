//! Tokio's task dump polls each task while it traces it. This needs `RUSTFLAGS='--cfg tokio_unstable'`.

use std::time::Duration;

use futures::{StreamExt, stream};
use stream_keepalive::{KeepaliveExt, SharedTimers, Timer, TokioTimer};
use tokio::{
    runtime::{Builder, Handle},
    time::timeout,
};

use crate::PATIENCE;

fn is_kept_alive_though_traced<T: Timer + Unpin + Send + 'static>(timer: T) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let idle = Duration::from_millis(20);
        let mut events = stream::pending().keepalive(idle, ()).with_timer(timer);
        let task = tokio::spawn(async move { (events.next().await, events.next().await) });
        // The task has not run yet, so the timer is armed and first polled while the task is traced.
        Handle::current().dump().await;
        let keepalives = timeout(PATIENCE, task).await;
        assert_eq!(keepalives.unwrap().unwrap(), (Some(()), Some(())));
    });
}

#[test]
fn a_stream_that_is_traced_before_it_has_been_polled_gets_its_keepalives() {
    is_kept_alive_though_traced(TokioTimer::new());
}

#[test]
fn a_stream_with_a_shared_timer_that_is_traced_before_it_has_been_polled_gets_its_keepalives() {
    is_kept_alive_though_traced(SharedTimers::new().timer());
}
