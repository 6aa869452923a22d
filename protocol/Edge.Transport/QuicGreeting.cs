using System.Globalization;
using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary>What an edge says of itself when it connects; the certificate decides whether it is true.</summary>
/// <param name="Wire">The versions of <see cref="EdgeWire"/> that it speaks, comma-separated.</param>
public sealed record QuicHello(string NodeId, string ProjectId, string Wire);

/// <summary>How a connection of ALPN <see cref="Alpn"/> begins: what the WebSocket's handshake says in headers.</summary>
/// <remarks>The edge opens one bidirectional stream for each lane and begins it with one byte, 1 control, 2 objects, 3 user. On control a frame follows with one record of operation
/// <c>connect</c>: resource the node's name, destination the project, content the versions of the wire as a JSON string. CloudCore answers with one frame there: <c>response</c>, content the version
/// that is used, or <c>error</c>, content <c>"403 why"</c> with the codes of the WebSocket hub. Then frames of <see cref="QuicFrame"/> on all lanes.</remarks>
public static class QuicGreeting
{
    public const string Alpn = "edge-hub/1";

    private const string ConnectOperation = "connect";

    // As much of a refusal's reason as is shown, characters.
    private const int ReasonMax = 200;

    /// <summary>The edge's side, over streams that were just opened.</summary>
    /// <exception cref="LinkException">Refused, with the code and the reason; or the answer cannot be read.</exception>
    /// <exception cref="IOException">The connection broke.</exception>
    public static async Task ConnectAsync(ILaneStreams streams, QuicHello hello, CancellationToken cancellationToken)
    {
        foreach (var lane in Enum.GetValues<LinkLane>())
            await streams[lane].WriteAsync(new[] { ByteOf(lane) }, cancellationToken);
        var connect = new Message
        {
            Id = "",
            Operation = ConnectOperation,
            Resource = hello.NodeId,
            Destination = hello.ProjectId,
            Content = MessageCodec.JsonString(hello.Wire),
        };
        await streams[LinkLane.Control].WriteAsync(QuicFrame.Write(connect), cancellationToken);
        var answer = await ReadAsync(streams[LinkLane.Control], cancellationToken);
        var said = Text(answer);
        if (answer.Operation == Operations.Error)
            throw new LinkException($"CloudCore refused the connection with {(said.Length > ReasonMax ? said[..ReasonMax] : said)}");
        if (answer.Operation != Operations.Response || !EdgeWire.Includes(said))
            throw new LinkException("CloudCore answered the greeting with something that is neither a version of the wire that is spoken here nor a refusal");
    }

    /// <summary>Which lane a stream that the edge opened is; null when its first byte says none, or there is none.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    public static async Task<LinkLane?> ReadLaneAsync(Stream stream, CancellationToken cancellationToken)
    {
        var one = new byte[1];
        return await stream.ReadAsync(one, cancellationToken) == 1 && one[0] is >= 1 and <= LinkLanes.Count ? (LinkLane)(one[0] - 1) : null;
    }

    /// <summary>Reads what the edge says of itself.</summary>
    /// <exception cref="LinkException">It cannot be read.</exception>
    /// <exception cref="IOException">The connection broke.</exception>
    public static async Task<QuicHello> ReadHelloAsync(Stream control, CancellationToken cancellationToken)
    {
        var hello = await ReadAsync(control, cancellationToken);
        return hello.Operation == ConnectOperation
            ? new QuicHello(hello.Resource, hello.Destination, Text(hello))
            : throw new LinkException("the peer's first message is not its greeting");
    }

    /// <summary>Takes the edge; what follows is the link's.</summary>
    public static async Task AcceptAsync(Stream control, CancellationToken cancellationToken)
        => await control.WriteAsync(QuicFrame.Write(new Message { Id = "", Operation = Operations.Response, Content = MessageCodec.JsonString(EdgeWire.Version) }), cancellationToken);

    /// <summary>Tells the edge why not; the caller then ends the connection once the peer has read it (<see cref="ILaneStreams.CompleteWritesAsync"/>).</summary>
    public static async Task RefuseAsync(Stream control, int code, string reason, CancellationToken cancellationToken)
    {
        var text = string.Create(CultureInfo.InvariantCulture, $"{code}: {(reason.Length > ReasonMax ? reason[..ReasonMax] : reason)}");
        await control.WriteAsync(QuicFrame.Write(new Message { Id = "", Operation = Operations.Error, Content = MessageCodec.JsonString(text) }), cancellationToken);
    }

    private static byte ByteOf(LinkLane lane) => (byte)((int)lane + 1);

    private static string Text(Message message) => System.Text.Encoding.UTF8.GetString(MessageCodec.Unwrap(message.Content).Span);

    private static async Task<Message> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        var header = new byte[QuicFrame.HeaderSize];
        await stream.ReadExactlyAsync(header, cancellationToken);
        if (!QuicFrame.TryReadHeader(header, QuicFrame.GreetingMax, out var length, out var error))
            throw new LinkException(error);
        var bytes = new byte[length];
        await stream.ReadExactlyAsync(bytes, cancellationToken);
        ReadOnlySpan<byte> frame = bytes;
        return CompactCodec.TryRead(ref frame, out var message, out error) ? message : throw new LinkException($"the greeting is malformed: {error}");
    }
}
