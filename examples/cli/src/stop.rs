use std::{future::Future, io, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long open streams may take to end once a server stops. A client that has stopped reading would
/// otherwise hold up the exit.
pub const GRACE: Duration = Duration::from_millis(500);

// The process has to exit within a second.
const _: () = assert!(GRACE.as_millis() < 1_000);

/// Completes at the first Ctrl-C or SIGTERM after this call.
#[cfg(unix)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
}

/// Cancels `stop` at the signal, and completes when open streams have had time to end.
pub fn cancel_at_signal(stop: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let stop_signal = stop_signal()?;
    Ok(async move {
        stop_signal.await;
        stop.cancel();
        sleep(GRACE).await;
    })
}
