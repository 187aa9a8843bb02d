use std::{
    future::ready,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request, middleware::map_request};
use http::Method;
use rmcp::{
    ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ContentBlock, ServerCapabilities, ServerInfo},
    service::{RequestContext, RunningService},
    transport::{
        StreamableHttpClientTransport,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
        },
    },
};
use tokio::time::{sleep, timeout};

use crate::support::{layer, proxy, serve};

/// The proxy cuts a stream that is idle for longer.
const LIMIT: Duration = Duration::from_secs(1);
const LONGER: Duration = Duration::from_secs(3);

/// A server with one slow tool.
#[derive(Clone)]
struct Slow;

impl ServerHandler for Slow {
    fn get_info(&self) -> ServerInfo {
        ServerInfo::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        sleep(LONGER).await;
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]))
    }
}

/// A server without keepalives of its own, and a count of the event streams that clients have opened.
fn slow(stateful: bool) -> (Router, Arc<AtomicUsize>) {
    let config = StreamableHttpServerConfig::default()
        .with_stateful_mode(stateful)
        .with_sse_keep_alive(None);
    let sessions = Arc::<LocalSessionManager>::default();
    let service = StreamableHttpService::new(|| Ok(Slow), sessions, config);
    let streams = Arc::new(AtomicUsize::new(0));
    let opened = streams.clone();
    let count = move |request: Request| {
        if request.method() == Method::GET {
            opened.fetch_add(1, Ordering::Relaxed);
        }
        ready(request)
    };
    (
        Router::new()
            .route_service("/mcp", service)
            .layer(map_request(count)),
        streams,
    )
}

async fn connect(app: Router) -> RunningService<RoleClient, ()> {
    let server: SocketAddr = proxy(serve(app).await, LIMIT).await;
    let transport = StreamableHttpClientTransport::from_uri(format!("http://{server}/mcp"));
    ().serve(transport).await.unwrap()
}

#[tokio::test]
async fn a_slow_tool_answers_through_a_proxy() {
    let client = connect(slow(false).0.layer(layer())).await;
    let result = client
        .call_tool(CallToolRequestParams::new("slow"))
        .await
        .unwrap();
    assert_eq!(result.content[0].as_text().unwrap().text, "done");
}

#[tokio::test]
async fn without_the_layer_the_answer_of_a_slow_tool_never_comes() {
    let client = connect(slow(false).0).await;
    let call = client.call_tool(CallToolRequestParams::new("slow"));
    // rmcp 2.2 does not notice that the stream was cut off.
    assert!(timeout(3 * LONGER, call).await.is_err());
}

#[tokio::test]
async fn a_client_that_waits_for_events_stays_connected() {
    let (app, streams) = slow(true);
    let _client = connect(app.layer(layer())).await;
    sleep(LONGER).await;
    assert_eq!(streams.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn without_the_layer_a_client_that_waits_for_events_has_to_reconnect() {
    let (app, streams) = slow(true);
    let _client = connect(app).await;
    while streams.load(Ordering::Relaxed) < 2 {
        sleep(LIMIT).await;
    }
}
