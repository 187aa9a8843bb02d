use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::mpsc,
    time::timeout,
};

use crate::PATIENCE;

/// The output of a program, line by line.
#[derive(Debug)]
pub struct Output(mpsc::UnboundedReceiver<String>);

impl Output {
    pub(crate) fn new(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        if let Some(pipe) = pipe {
            tokio::spawn(async move {
                let mut lines = BufReader::new(pipe).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    // Read to the end even if nobody receives the lines, because the program must be able to write.
                    _ = sender.send(line);
                }
            });
        }
        Self(receiver)
    }

    /// Returns the next line.
    pub async fn line(&mut self) -> Result<String> {
        timeout(PATIENCE, self.0.recv())
            .await
            .context("no line came in time")?
            .context("there are no more lines")
    }

    /// Returns the next line that contains `text`.
    pub async fn line_with(&mut self, text: &str) -> Result<String> {
        let line = async {
            loop {
                let line = self.0.recv().await?;
                if line.contains(text) {
                    return Some(line);
                }
            }
        };
        timeout(PATIENCE, line)
            .await
            .with_context(|| format!("no line with {text:?} came in time"))?
            .with_context(|| format!("there is no line with {text:?}"))
    }

    /// Returns what is left, once the program has ended.
    pub async fn rest(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = timeout(PATIENCE, self.0.recv())
            .await
            .context("the program did not end in time")?
        {
            lines.push(line);
        }
        Ok(lines)
    }
}
