//! Keepalives in a browser: the library without Tokio, with the browser's own timer.
//!
//! In this folder, with the target wasm32-unknown-unknown and the program `wasm-bindgen` installed:
//!
//! ```sh
//! cargo build --target wasm32-unknown-unknown
//! wasm-bindgen --target web --out-name page --out-dir target/page target/wasm32-unknown-unknown/debug/wasm.wasm
//! cp index.html target/page
//! python3 -m http.server --bind 127.0.0.1 --directory target/page
//! ```
//!
//! The page is at <http://127.0.0.1:8000>. `scripts/check-wasm` opens it in a headless browser.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use gloo_timers::future::{IntervalStream, sleep};
use js_sys::Function;
use stream_keepalive::{KeepaliveExt, SleepTimer};
use wasm_bindgen::prelude::*;

/// Calls `show` with each of three items, and then with a keepalive every `idle` milliseconds.
#[wasm_bindgen]
pub async fn run(idle: u32, show: Function) -> Result<(), JsValue> {
    let idle = Duration::from_millis(idle.into());
    let items = IntervalStream::new(100).take(3).map(|()| "item");
    // The stream goes idle instead of ending.
    let items = items.chain(stream::pending());
    let mut items = items
        .keepalive(idle, "keepalive")
        .with_timer(SleepTimer::new(sleep));
    while let Some(item) = items.next().await {
        show.call1(&JsValue::NULL, &item.into())?;
    }
    Ok(())
}
