using Google.Protobuf;

namespace Edge.Protocol.Grpc;

/// <summary>The unary methods that a server offers, by path. Filled before the server starts; read-only afterwards.</summary>
public sealed class GrpcMethods
{
    private readonly Dictionary<string, GrpcHandler> _handlers = new(StringComparer.Ordinal);

    /// <summary>Adds a method.</summary>
    /// <param name="path">Method path, e.g. <c>/v1beta1.DeviceManagerService/MapperRegister</c>.</param>
    /// <param name="handler">Answers a request; throws <see cref="GrpcException"/> to end the call with that status. Its token is
    /// cancelled when the caller gives up, its deadline passes, or the server stops.</param>
    public GrpcMethods MapUnary<TRequest, TResponse>(
        string path, MessageParser<TRequest> parser, Func<TRequest, CancellationToken, Task<TResponse>> handler)
        where TRequest : IMessage<TRequest>
        where TResponse : IMessage<TResponse>
    {
        _handlers.Add(path, async (bytes, cancellationToken) =>
        {
            TRequest request;
            try
            {
                request = parser.ParseFrom(bytes.Span);
            }
            catch (InvalidProtocolBufferException e)
            {
                throw new GrpcException(GrpcStatusCode.Internal, $"{path}: malformed request: {e.Message}", e);
            }

            return await handler(request, cancellationToken).ConfigureAwait(false);
        });
        return this;
    }

    internal GrpcHandler? Find(string path) => _handlers.GetValueOrDefault(path);
}

internal delegate Task<IMessage> GrpcHandler(ReadOnlyMemory<byte> request, CancellationToken cancellationToken);
