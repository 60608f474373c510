//! A method that the plugin offers: from the bytes of a question to those of an answer.

use std::{marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use prost::Message;
use ttrpc::{
    asynchronous::{MethodHandler, TtrpcContext},
    error::get_status,
    proto::{Code, Request, Response},
};

use super::session::Session;

/// A method of the service.
pub(super) struct Method<Q, F> {
    session: Arc<Session>,
    answer: F,
    question: PhantomData<fn() -> Q>,
}

impl<Q, F> Method<Q, F> {
    pub fn new(session: Arc<Session>, answer: F) -> Self {
        Self {
            session,
            answer,
            question: PhantomData,
        }
    }
}

#[async_trait]
impl<Q, A, F, W> MethodHandler for Method<Q, F>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Fn(Arc<Session>, Q) -> W + Send + Sync + 'static,
    W: Future<Output = Result<A, String>> + Send + 'static,
{
    async fn handler(&self, _context: TtrpcContext, request: Request) -> ttrpc::Result<Response> {
        let question = Q::decode(&*request.payload)
            .map_err(|error| ttrpc::Error::Others(error.to_string()))?;
        Ok(
            match (self.answer)(Arc::clone(&self.session), question).await {
                Ok(answer) => Response {
                    payload: answer.encode_to_vec(),
                    ..Response::default()
                },
                // As an answer: of an error the runtime, and whoever describes the pod, would be shown the library's own words.
                Err(message) => Response {
                    status: Some(get_status(Code::UNKNOWN, message)).into(),
                    ..Response::default()
                },
            },
        )
    }
}
