//! prost messages on the wire of gRPC.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Sends `E`, receives `D`.
pub(super) struct Proto<E, D>(PhantomData<fn() -> (E, D)>);

impl<E, D> Proto<E, D> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

/// One direction.
pub(super) struct Way<M>(PhantomData<fn() -> M>);

impl<E: Message + 'static, D: Message + Default + 'static> Codec for Proto<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = Way<E>;
    type Decoder = Way<D>;

    fn encoder(&mut self) -> Way<E> {
        Way(PhantomData)
    }

    fn decoder(&mut self) -> Way<D> {
        Way(PhantomData)
    }
}

impl<M: Message + 'static> Encoder for Way<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, item: M, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|_| Status::internal("a request does not fit its buffer"))
    }
}

impl<M: Message + Default + 'static> Decoder for Way<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(buffer).map(Some).map_err(|_| Status::internal("an answer is not the message it should be"))
    }
}
