//! A service with all four kinds of calls, and a client for it. Their messages are `google.protobuf.StringValue`.

use std::{
    convert::Infallible,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt, Stream, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::time::{sleep, timeout};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::GrpcService,
    codec::CompressionEncoding,
    codegen::{StdError, http},
    server::NamedService,
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

type Codec = ProstCodec<String, String>;
type Message = Result<String, Status>;

/// What a service counts.
#[derive(Clone, Default)]
pub struct Counts {
    open: Arc<AtomicUsize>,
}

impl Counts {
    /// The number of responses that are streams and have neither ended nor been dropped.
    pub fn open_streams(&self) -> usize {
        self.open.load(Relaxed)
    }
}

/// Its requests say what its responses are; see [`follow`].
#[derive(Clone, Default)]
pub struct Scripted {
    pub gzip: bool,
    /// Promises keepalives after this many milliseconds, and does not send them.
    pub lies: Option<&'static str>,
    pub counts: Counts,
}

impl NamedService for Scripted {
    const NAME: &'static str = "test.Scripted";
}

impl Service<http::Request<Body>> for Scripted {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        let head = move |mut response: Response<BoxStream<'static, Message>>| {
            if let Some(promise) = this.lies {
                let promise = promise.parse().unwrap();
                response.metadata_mut().insert("stream-keepalive", promise);
            }
            response
        };
        let counts = self.counts.clone();
        let mut grpc = tonic::server::Grpc::new(Codec::default());
        if self.gzip {
            grpc = grpc
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(usize::MAX);
        }
        async move {
            let path = request.uri().path().to_owned();
            Ok(match path.as_str() {
                "/test.Scripted/Unary" => {
                    let unary = service_fn(|request: Request<String>| async {
                        let messages: Vec<_> = follow(request.into_inner()).try_collect().await?;
                        Ok(Response::new(messages.concat()))
                    });
                    grpc.unary(unary, request).await
                }
                "/test.Scripted/Download" => {
                    let download = service_fn(move |request: Request<String>| {
                        let messages = counted(counts.clone(), follow(request.into_inner()));
                        ready(Ok(head(Response::new(messages))))
                    });
                    grpc.server_streaming(download, request).await
                }
                "/test.Scripted/Upload" => {
                    let upload = service_fn(|request: Request<Streaming<String>>| async {
                        let messages: Vec<_> = request.into_inner().try_collect().await?;
                        Ok(Response::new(messages.concat()))
                    });
                    grpc.client_streaming(upload, request).await
                }
                "/test.Scripted/Talk" => {
                    let talk = service_fn(move |request: Request<Streaming<String>>| {
                        let messages = request.into_inner().map_ok(follow).try_flatten();
                        let messages = counted(counts.clone(), messages);
                        ready(Ok(head(Response::new(messages))))
                    });
                    grpc.streaming(talk, request).await
                }
                path => panic!("unknown path: {path}"),
            })
        }
        .boxed()
    }
}

/// The messages that a script describes. Its words are messages, apart from these: `20s` is a pause, `empty` an
/// empty message, `3MB` a large one, `fail` an error and `hang` the end of all messages, but not of the stream.
fn follow(script: String) -> impl Stream<Item = Message> {
    let words: Vec<_> = script.split_whitespace().map(str::to_owned).collect();
    stream::iter(words)
        .then(|word| async move {
            let number = |unit| word.strip_suffix(unit)?.parse::<u64>().ok();
            if let Some(seconds) = number("s") {
                sleep(Duration::from_secs(seconds)).await;
                return None;
            }
            if let Some(megabytes) = number("MB") {
                return Some(Ok("x".repeat(megabytes as usize * 1_000_000)));
            }
            Some(match word.as_str() {
                "empty" => Ok(String::new()),
                "fail" => {
                    let mut status = Status::not_found("it is gone: 100 %");
                    let answer = "42".parse().unwrap();
                    status.metadata_mut().insert("x-answer", answer);
                    Err(status)
                }
                "hang" => pending().await,
                _ => Ok(word),
            })
        })
        .filter_map(ready)
}

/// Counts a stream as long as it exists.
fn counted(
    counts: Counts,
    messages: impl Stream<Item = Message> + Send + 'static,
) -> BoxStream<'static, Message> {
    struct Open(Counts);

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.open.fetch_sub(1, Relaxed);
        }
    }

    counts.open.fetch_add(1, Relaxed);
    let open = Open(counts);
    messages.inspect(move |_| _ = &open).boxed()
}

pub struct Client<T>(pub tonic::client::Grpc<T>);

impl<T> Client<T>
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    pub fn new(channel: T) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    pub fn gzip(self) -> Self {
        let grpc = self.0.accept_compressed(CompressionEncoding::Gzip);
        Self(grpc.send_compressed(CompressionEncoding::Gzip))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unknown(error.into().to_string()))
    }

    pub async fn unary(
        &mut self,
        script: impl tonic::IntoRequest<String>,
    ) -> Result<String, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/test.Scripted/Unary");
        let response = self.0.unary(script.into_request(), path, Codec::default());
        Ok(response.await?.into_inner())
    }

    pub async fn download(
        &mut self,
        script: impl tonic::IntoRequest<String>,
    ) -> Result<Response<Streaming<String>>, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/test.Scripted/Download");
        let request = script.into_request();
        self.0
            .server_streaming(request, path, Codec::default())
            .await
    }

    /// Returns the messages of a download that has begun.
    pub async fn messages(&mut self, script: &str) -> Streaming<String> {
        self.download(script.to_owned()).await.unwrap().into_inner()
    }

    pub async fn upload(
        &mut self,
        messages: impl Stream<Item = String> + Send + 'static,
    ) -> Result<String, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/test.Scripted/Upload");
        let request = Request::new(messages);
        let response = self.0.client_streaming(request, path, Codec::default());
        Ok(response.await?.into_inner())
    }

    pub async fn talk(
        &mut self,
        scripts: impl Stream<Item = String> + Send + 'static,
    ) -> Result<Streaming<String>, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/test.Scripted/Talk");
        let response = self
            .0
            .streaming(Request::new(scripts), path, Codec::default());
        Ok(response.await?.into_inner())
    }

    /// Returns all messages of a download, and its status.
    pub async fn all(&mut self, script: &str) -> (Vec<String>, Result<(), Status>) {
        match self.download(script.to_owned()).await {
            Ok(response) => all(response.into_inner()).await,
            Err(status) => (Vec::new(), Err(status)),
        }
    }
}

/// Returns the rest of the messages, and the status.
pub async fn all(mut messages: Streaming<String>) -> (Vec<String>, Result<(), Status>) {
    let mut found = Vec::new();
    loop {
        // Longer than any script. A call that hangs fails the test.
        let next = timeout(Duration::from_secs(100_000_000), messages.try_next());
        match next.await.expect("the call goes on or ends") {
            Ok(Some(message)) => found.push(message),
            Ok(None) => return (found, Ok(())),
            Err(status) => return (found, Err(status)),
        }
    }
}
