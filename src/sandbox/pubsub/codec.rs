//! Messages to bytes and back, for tonic.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

/// Sends `E`, receives `D`.
#[derive(Debug)]
pub(crate) struct Proto<E, D>(PhantomData<fn() -> (E, D)>);

impl<E, D> Proto<E, D> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Way<M>(PhantomData<fn() -> M>);

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
        item.encode(buffer).map_err(|error| Status::new(Code::Internal, error.to_string()))
    }
}

impl<M: Message + Default + 'static> Decoder for Way<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(buffer).map(Some).map_err(|error| Status::new(Code::Internal, error.to_string()))
    }
}
