namespace Edge.Protocol.Messages;

/// <summary>How CloudCore gets a stream of bytes to a node behind NAT: it asks over the node's session, and the node dials the hub's WebSocket port once more, for this stream alone. Between
/// our own peers (docs/protocol.md, "Streams").</summary>
public static class NodeStreamWire
{
    /// <summary>The resource of the asking message of group <see cref="Groups.Stream"/> is this and the stream's id.</summary>
    public const string ResourcePrefix = "node/stream/";

    /// <summary>The header of the WebSocket handshake with the stream's id.</summary>
    public const string Header = "Edge-Stream";

    /// <summary>The value of the handshake's header <c>ConnectionUse</c>; a session has <c>msg</c>.</summary>
    public const string ConnectionUse = "stream";

    /// <summary>Hexadecimal digits of an id: 128 random bits.</summary>
    public const int IdLength = 32;

    public static bool IsId(string text) => text.Length == IdLength && text.All(char.IsAsciiHexDigitLower);
}
