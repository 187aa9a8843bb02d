//! Measures when each keepalive reaches the client if lines and server-sent events are compressed on the way.

use std::{
    convert::Infallible,
    fmt,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Router,
    body::{Body, Bytes},
    http::HeaderValue,
    response::IntoResponse,
    routing::get,
};
use flate2::write::GzDecoder;
use futures::{FutureExt, stream};
use programs::PATIENCE;
use stream_keepalive::KeepaliveExt;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_http::compression::CompressionLayer;

use crate::{
    next::{self, NEXT},
    nginx::{self, CONNECTIONS, Front, NGINX},
    proxy::Proxy,
    scenario::Start,
};

const IDLE: Duration = Duration::from_millis(250);
/// How many keepalives fill the idle time.
const KEEPALIVES: usize = 8;

/// The content of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Lines,
    Events,
}

impl Content {
    pub const ALL: [Self; 2] = [Self::Lines, Self::Events];

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn keepalive(self) -> &'static str {
        match self {
            Self::Lines => "\n",
            Self::Events => ":\n\n",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Lines => "{}\n",
            Self::Events => "data: {}\n\n",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "lines",
            Self::Events => "events",
        })
    }
}

/// An implementation of compression.
pub struct Compressor {
    pub name: &'static str,
    pub description: &'static str,
    pub proxy: Option<&'static Proxy>,
    layer: Option<fn() -> CompressionLayer>,
    /// Starts the proxy in front of a server.
    start: Option<fn(SocketAddr) -> Start>,
    /// The server sends `x-accel-buffering: no`.
    asks_for_no_buffer: bool,
    /// The content that is compressed.
    pub compresses: &'static [Content],
    /// Content that says `no-transform` is not compressed.
    pub obeys_no_transform: bool,
    /// Compressed keepalives arrive only with the end of the response.
    pub holds_back: bool,
}

const GZIP: &str = "gzip on; gzip_min_length 0; gzip_types application/x-ndjson text/event-stream;";

const NOTHING: Compressor = Compressor {
    name: "nothing",
    description: "nothing",
    proxy: None,
    layer: None,
    start: None,
    asks_for_no_buffer: false,
    compresses: &[],
    obeys_no_transform: false,
    holds_back: false,
};

const NGINX_GZIP: Compressor = Compressor {
    proxy: Some(&NGINX),
    compresses: &Content::ALL,
    ..NOTHING
};

pub static COMPRESSORS: [Compressor; 6] = [
    NOTHING,
    Compressor {
        name: "the_layer",
        description: "`CompressionLayer` of tower-http",
        layer: Some(CompressionLayer::new),
        compresses: &[Content::Lines],
        ..NOTHING
    },
    Compressor {
        name: "nginx_with_its_buffer_on",
        description: "nginx `gzip`, buffering on",
        start: Some(|server| start_nginx(server, "proxy_buffering on;")),
        holds_back: true,
        ..NGINX_GZIP
    },
    Compressor {
        name: "nginx_with_its_buffer_off",
        description: "nginx `gzip`, `proxy_buffering off`",
        start: Some(|server| start_nginx(server, "proxy_buffering off;")),
        ..NGINX_GZIP
    },
    Compressor {
        name: "nginx_asked_for_no_buffer",
        description: "nginx `gzip`, `x-accel-buffering: no`",
        start: Some(|server| start_nginx(server, "proxy_buffering on;")),
        asks_for_no_buffer: true,
        ..NGINX_GZIP
    },
    Compressor {
        name: "next",
        description: "Next.js `rewrites`, `compress: true`",
        proxy: Some(&NEXT),
        start: Some(|server| NEXT.with(next::rewrite(server, PATIENCE, true))),
        compresses: &[Content::Events],
        obeys_no_transform: true,
        holds_back: true,
        ..NOTHING
    },
];

/// How the keepalives of one response arrived.
#[derive(Clone, Debug)]
pub struct Arrivals {
    pub compressed: bool,
    /// How long each took from the server to the client.
    delays: Vec<Duration>,
    /// How many arrived before the server sent the message at the end.
    pub in_time: usize,
}

impl Arrivals {
    fn all_in_time(&self) -> bool {
        self.in_time == self.delays.len()
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.compressed { "gzip, " } else { "plain, " })?;
        let longest = self.delays.iter().max().copied().unwrap_or_default();
        match self.in_time {
            0 => f.write_str("**none before the end**"),
            _ if self.all_in_time() => write!(f, "each within {} ms", longest.as_millis() + 1),
            in_time => write!(f, "{in_time} of {} before the end", self.delays.len()),
        }
    }
}

/// When the keepalives and the message were sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Instant>>>);

impl Sent {
    fn note(&self) {
        self.times().push(Instant::now());
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a response of keepalives with a message at the end. Returns how the keepalives arrived.
pub async fn run(
    compressor: &Compressor,
    content: Content,
    no_transform: bool,
) -> Result<Arrivals> {
    let sent = Sent::default();
    let (server, _tasks) = serve(compressor, content, no_transform, sent.clone()).await?;
    let proxy = match compressor.start {
        Some(start) => start(server).await?,
        None => None,
    };
    let addr = proxy.as_ref().map_or(server, |proxy| proxy.addr);

    let client = reqwest::Client::builder().no_proxy().no_gzip().build()?;
    let request = client.get(format!("http://{addr}"));
    let request = request.header("accept-encoding", "gzip").send();
    let mut response = timeout(PATIENCE, request).await??.error_for_status()?;
    let compressed = match response.headers().get("content-encoding") {
        None => false,
        Some(encoding) if encoding == "gzip" => true,
        Some(encoding) => bail!("unexpected encoding: {encoding:?}"),
    };
    let mut arrived = Vec::new();
    let mut text = Text::new(compressed);
    while let Some(bytes) = timeout(PATIENCE, response.chunk()).await?? {
        text.add(&bytes)?;
        let count = text.get().matches(content.keepalive()).count();
        arrived.resize(count, Instant::now());
    }

    let text = text.get();
    let mut sent = sent.times().clone();
    let end = sent.pop().context("the message was not sent")?;
    // A message of lines ends like a keepalive, so the last match is the message.
    arrived.truncate(sent.len());
    ensure!(
        text.ends_with(content.message()),
        "the message is not at the end: {text:?}"
    );
    ensure!(
        sent.len() > KEEPALIVES / 2,
        "too few keepalives: {}",
        sent.len()
    );
    ensure!(
        arrived.len() == sent.len(),
        "keepalives were lost: {text:?}"
    );
    let delays = arrived.iter().zip(&sent);
    Ok(Arrivals {
        compressed,
        delays: delays.map(|(arrived, sent)| *arrived - *sent).collect(),
        in_time: arrived.iter().filter(|arrived| **arrived < end).count(),
    })
}

/// Serves one idle response. The server ends when the returned set of tasks is dropped.
async fn serve(
    compressor: &Compressor,
    content: Content,
    no_transform: bool,
    sent: Sent,
) -> Result<(SocketAddr, JoinSet<()>)> {
    let asks_for_no_buffer = compressor.asks_for_no_buffer;
    let handler = async move || {
        let noted = sent.clone();
        let message = stream::once(async move {
            sleep(IDLE * KEEPALIVES as u32 + IDLE / 2).await;
            sent.note();
            Ok::<_, Infallible>(Bytes::from_static(content.message().as_bytes()))
        });
        let body = message.keepalive_with(IDLE, move || {
            noted.note();
            Ok(Bytes::from_static(content.keepalive().as_bytes()))
        });
        let cache_control = if no_transform {
            "no-cache, no-transform"
        } else {
            "no-cache"
        };
        let headers = [
            ("content-type", content.content_type()),
            ("cache-control", cache_control),
        ];
        let mut response = (headers, Body::from_stream(body)).into_response();
        if asks_for_no_buffer {
            let no = HeaderValue::from_static("no");
            response.headers_mut().insert("x-accel-buffering", no);
        }
        response
    };
    let app = Router::new().route("/", get(handler));
    let app = match compressor.layer {
        Some(layer) => app.layer(layer()),
        None => app,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async {
        // An error ends only this task.
        _ = axum::serve(listener, app).await;
    });
    Ok((addr, tasks))
}

fn start_nginx(server: SocketAddr, more: &str) -> Start {
    let location = format!("proxy_pass http://{server}; proxy_http_version 1.1; {GZIP} {more}");
    async move {
        let proxy = nginx::start(Front::Http1, CONNECTIONS, &location).await?;
        Ok(Some(proxy))
    }
    .boxed()
}

/// The text of a response that has arrived so far.
enum Text {
    Plain(Vec<u8>),
    Gzip(Box<GzDecoder<Vec<u8>>>),
}

impl Text {
    fn new(compressed: bool) -> Self {
        if compressed {
            Self::Gzip(Box::new(GzDecoder::new(Vec::new())))
        } else {
            Self::Plain(Vec::new())
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Plain(text) => text.extend_from_slice(bytes),
            Self::Gzip(decoder) => {
                decoder.write_all(bytes)?;
                decoder.flush()?;
            }
        }
        Ok(())
    }

    fn get(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(match self {
            Self::Plain(text) => text,
            Self::Gzip(decoder) => decoder.get_ref(),
        })
    }
}
