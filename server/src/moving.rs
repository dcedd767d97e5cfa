//! Requests that go on on other threads once they have come to long work.
//!
//! Start at [`Moving`]. A request marks itself ([`LongWork`]) and lets go of its thread; the future
//! that drives it sees the mark and hands the rest of it to the threads of a second runtime, which
//! have a lower priority. The invariant: a thread that answers ordinary requests is never busy with
//! one request for long; what was begun is ended when its client goes away.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hanse_api::LongWork;
use hanse_api::body::Body;
use hanse_seams::{BoxFuture, Spawner, Task};
use http::Response;
use tokio::sync::oneshot;

/// A request on its way.
pub struct Moving {
    long: LongWork,
    pool: Arc<dyn Spawner>,
    stage: Stage,
}

enum Stage {
    Here(BoxFuture<Response<Body>>),
    There(oneshot::Receiver<Response<Body>>, Task),
    Gone,
}

impl Moving {
    /// A request that carries this mark; `pool` is where long work is done.
    pub fn new(work: BoxFuture<Response<Body>>, long: LongWork, pool: Arc<dyn Spawner>) -> Self {
        Self {
            long,
            pool,
            stage: Stage::Here(work),
        }
    }

    fn go(&mut self, work: BoxFuture<Response<Body>>) {
        let (send, answer) = oneshot::channel();
        let rest = Box::pin(async move {
            // Whoever went away meanwhile needs no answer.
            let _ = send.send(work.await);
        });
        self.stage = Stage::There(answer, self.pool.task("long work", rest));
    }
}

impl Future for Moving {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let this = self.get_mut();
        if let Stage::Here(work) = &mut this.stage {
            let poll = work.as_mut().poll(cx);
            if poll.is_ready() || !this.long.has_begun() {
                return poll;
            }
        }
        this.stage = match std::mem::replace(&mut this.stage, Stage::Gone) {
            Stage::Here(work) => {
                this.go(work);
                return Pin::new(this).poll(cx);
            }
            there => there,
        };
        match &mut this.stage {
            Stage::There(answer, _) => Pin::new(answer).poll(cx).map(|answer| {
                // Its task was ended: the process is stopping.
                let stopped = || Response::builder().status(503).body(Body::empty());
                answer.or_else(|_| stopped()).unwrap_or_default()
            }),
            Stage::Here(_) | Stage::Gone => Poll::Pending,
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Stage::There(_, task) = &self.stage {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_seams::RealSpawner;

    use super::*;

    fn name_of_thread() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[test]
    fn long_work_goes_on_elsewhere_and_the_rest_stays() {
        let other = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("long")
            .build()
            .unwrap();
        let pool: Arc<dyn Spawner> = Arc::new(RealSpawner::on(other.handle().clone()));
        let here = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        here.block_on(async {
            for long in [false, true] {
                let mark = LongWork::default();
                let inner = mark.clone();
                let work = Box::pin(async move {
                    let before = name_of_thread();
                    inner.begin_if(long).await;
                    assert_eq!(name_of_thread() != before, long);
                    Response::new(Body::whole("x"))
                });
                let answer = Moving::new(work, mark, pool.clone()).await;
                assert_eq!(answer.status(), 200);
            }
        });
    }
}
