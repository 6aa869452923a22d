using Google.Protobuf;

namespace Edge.Protocol.Grpc;

/// <summary>The methods that a server offers, by path: unary ones, and ones that answer with a stream. Filled before the server starts; read-only afterwards.</summary>
public sealed class GrpcMethods
{
    private readonly Dictionary<string, GrpcHandler> _handlers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, GrpcStreamHandler> _streams = new(StringComparer.Ordinal);

    /// <summary>Adds a method.</summary>
    /// <param name="path">Method path, e.g. <c>/v1beta1.DeviceManagerService/MapperRegister</c>.</param>
    /// <param name="handler">Answers a request; throws <see cref="GrpcException"/> to end the call with that status. Its token is
    /// cancelled when the caller gives up, its deadline passes, or the server stops.</param>
    public GrpcMethods MapUnary<TRequest, TResponse>(
        string path, MessageParser<TRequest> parser, Func<TRequest, CancellationToken, Task<TResponse>> handler)
        where TRequest : IMessage<TRequest>
        where TResponse : IMessage<TResponse>
    {
        _handlers.Add(path, async (bytes, cancellationToken) => await handler(Parse(path, parser, bytes), cancellationToken).ConfigureAwait(false));
        return this;
    }

    /// <summary>Adds a method that answers one request with any number of messages; the call ends with the sequence.</summary>
    /// <inheritdoc cref="MapUnary"/>
    public GrpcMethods MapServerStream<TRequest, TResponse>(
        string path, MessageParser<TRequest> parser, Func<TRequest, CancellationToken, IAsyncEnumerable<TResponse>> handler)
        where TRequest : IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        _streams.Add(path, (bytes, cancellationToken) => handler(Parse(path, parser, bytes), cancellationToken));
        return this;
    }

    internal GrpcHandler? Find(string path) => _handlers.GetValueOrDefault(path);

    internal GrpcStreamHandler? FindStream(string path) => _streams.GetValueOrDefault(path);

    private static TRequest Parse<TRequest>(string path, MessageParser<TRequest> parser, ReadOnlyMemory<byte> bytes)
        where TRequest : IMessage<TRequest>
    {
        try
        {
            return parser.ParseFrom(bytes.Span);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new GrpcException(GrpcStatusCode.Internal, $"{path}: malformed request: {e.Message}", e);
        }
    }
}

internal delegate IAsyncEnumerable<IMessage> GrpcStreamHandler(ReadOnlyMemory<byte> request, CancellationToken cancellationToken);

internal delegate Task<IMessage> GrpcHandler(ReadOnlyMemory<byte> request, CancellationToken cancellationToken);
