//! A log that grows in paused time, for tests.

use std::time::Duration;

use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    time::sleep,
};

/// A runtime whose clock is paused.
pub fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// Adds a number to the log after each of these gaps, in milliseconds.
pub fn publish(gaps: Vec<u64>) -> watch::Receiver<Vec<String>> {
    let (sender, log) = watch::channel(Vec::new());
    tokio::spawn(async move {
        for (number, gap) in gaps.into_iter().enumerate() {
            sleep(Duration::from_millis(gap)).await;
            sender.send_modify(|log| log.push(number.to_string()));
        }
        sender.closed().await;
    });
    log
}
