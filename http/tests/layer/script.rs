use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// What a body does when it is polled.
#[derive(Clone, Debug)]
pub enum Step {
    Data(Bytes),
    Trailers,
    Error,
    /// The body is pending and wakes nobody. The next poll takes the next step.
    Pending,
    /// The body is pending until this time has passed.
    Wait(Duration),
}

pub fn data(data: impl Into<Bytes>) -> Step {
    Step::Data(data.into())
}

/// A body that follows a script, and is pending after it unless it ends.
#[derive(Clone, Debug)]
pub struct Script {
    steps: VecDeque<Step>,
    ends: bool,
    has_ended: bool,
    wait_until: Option<Instant>,
    pub says_that_it_ended: bool,
    pub lower: u64,
    pub upper: Option<u64>,
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            ends: false,
            has_ended: false,
            wait_until: None,
            says_that_it_ended: false,
            lower: 0,
            upper: None,
        }
    }

    pub fn ends(mut self) -> Self {
        self.ends = true;
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        assert!(!self.has_ended, "polled after the end");
        if let Some(end) = self.wait_until {
            if Instant::now() < end {
                let waker = cx.waker().clone();
                tokio::spawn(async move {
                    sleep_until(end).await;
                    waker.wake();
                });
                return Poll::Pending;
            }
            self.wait_until = None;
        }
        match self.steps.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Step::Error) => Poll::Ready(Some(Err("reset"))),
            Some(Step::Pending) => Poll::Pending,
            Some(Step::Wait(time)) => {
                self.wait_until = Some(Instant::now() + time);
                self.poll_frame(cx)
            }
            None if self.ends => {
                self.has_ended = true;
                Poll::Ready(None)
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.says_that_it_ended
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.lower);
        if let Some(upper) = self.upper {
            hint.set_upper(upper);
        }
        hint
    }
}
