//! The end of a runtime in which bodies are idle.
//!
//! The hook counts the panics of the whole process, so this is the only test of its program.

use std::{
    convert::Infallible,
    future::ready,
    panic,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{GrpcClientLayer, KeepaliveLayer};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt, service_fn};

static PANICS: AtomicUsize = AtomicUsize::new(0);

type Chunk = Result<Frame<Bytes>, Infallible>;

/// Reads an idle response through both layers until `keepalives` have come, and leaves it idle.
async fn read(layer: KeepaliveLayer, mut keepalives: usize) -> impl Send {
    let response = Response::builder().header("content-type", "application/grpc");
    let body = StreamBody::new(stream::pending::<Chunk>());
    let response = response.body(body).unwrap();
    let server = layer.layer(service_fn(move |_| {
        ready(Ok::<_, Infallible>(response.clone()))
    }));
    let request = Request::builder().header("content-type", "application/grpc");
    let request = request.header("stream-keepalive", "1").body(()).unwrap();
    let mut filled = server.clone().oneshot(request).await.unwrap().into_body();
    while keepalives > 0 {
        filled.frame().await.unwrap().unwrap();
        keepalives -= 1;
    }
    let request = Request::builder().header("content-type", "application/grpc");
    let client = GrpcClientLayer::new().layer(server);
    let request = request.body(()).unwrap();
    let mut stripped = client.oneshot(request).await.unwrap().into_body();
    assert!(futures::poll!(stripped.frame()).is_pending());
    assert!(futures::poll!(filled.frame()).is_pending());
    (filled, stripped)
}

#[test]
fn no_panic_is_printed_when_a_runtime_ends_in_which_bodies_are_idle() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Relaxed);
        print(panic);
    }));
    let flavours = [Builder::new_current_thread, Builder::new_multi_thread];
    let ends: [fn(Runtime); 3] = [
        drop,
        |runtime| runtime.shutdown_timeout(Duration::from_secs(60)),
        Runtime::shutdown_background,
    ];
    for flavour in flavours {
        for end in ends {
            let runtime = flavour().enable_time().build().unwrap();
            let mut outlive_it = Vec::new();
            // Some are due when the runtime ends, some are not.
            for (idle, keepalives) in [(1, 1), (15, 0), (3_600_000, 0)] {
                let own = KeepaliveLayer::new(Duration::from_millis(idle));
                let shared = own.clone().timers(SharedTimers::new());
                for layer in [own, shared] {
                    let outside = runtime.block_on(read(layer.clone(), keepalives));
                    runtime.spawn(async move {
                        let _inside = read(layer, keepalives).await;
                        std::future::pending::<()>().await;
                    });
                    // Nobody polls them again.
                    outlive_it.push(outside);
                }
            }
            thread::sleep(Duration::from_millis(20));
            end(runtime);
        }
    }
    // The workers of the last runtime end in the background.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(PANICS.load(Relaxed), 0);
}
