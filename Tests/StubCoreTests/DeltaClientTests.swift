import Testing

@testable import StubCore

struct DeltaClientTests {}
