import Testing

/// Everything here uses real sockets and threads; one after another, so that descriptors can be counted and no
/// machine is too small.
@Suite(.serialized) struct RuntimeTests {}
