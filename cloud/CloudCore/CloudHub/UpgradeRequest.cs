using System.Security.Cryptography;
using System.Text;
using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudHub;

/// <summary>How far the head of a request has come.</summary>
internal enum UpgradeStatus
{
    NeedMoreData,
    Complete,
    Malformed,
}

/// <summary>The head of an edge's WebSocket handshake (RFC 6455 §4.1, RFC 9112 §3-5), as far as the hub looks at it. Pure.</summary>
internal sealed record UpgradeRequest
{
    /// <summary>Largest accepted head, bytes.</summary>
    public const int SizeMax = 8 * 1024;

    private const int HeadersMax = 64;

    // RFC 6455 §1.3.
    private const string KeySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    public string NodeId { get; private init; } = "";

    public string ConnectionUse { get; private init; } = "";

    /// <summary>The header <see cref="EdgeWire.Header"/>.</summary>
    public string Wire { get; private init; } = "";

    /// <summary>The header <see cref="NodeStreamWire.Header"/>: which stream this connection is for.</summary>
    public string Stream { get; private init; } = "";

    /// <summary>Sec-WebSocket-Key; empty when this is no good WebSocket handshake.</summary>
    public string Key { get; private init; } = "";

    /// <summary>Sec-WebSocket-Accept for <see cref="Key"/>.</summary>
#pragma warning disable CA5350 // RFC 6455 §4.2.2 fixes SHA-1; it protects nothing here.
    public string Accept => Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(Key + KeySuffix)));
#pragma warning restore CA5350

    /// <summary>Reads a whole head. Lines may end in CRLF only; a header that counts and stands twice with different values is malformed.</summary>
    public static UpgradeStatus TryRead(ReadOnlySpan<byte> bytes, out UpgradeRequest request, out string error)
    {
        request = new UpgradeRequest();
        error = "";
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            if (bytes.Length < SizeMax)
                return UpgradeStatus.NeedMoreData;
            error = $"the request's head is over {SizeMax} bytes";
            return UpgradeStatus.Malformed;
        }

        if (end + 4 != bytes.Length)
        {
            error = "bytes after the request's head, before the answer to it";
            return UpgradeStatus.Malformed;
        }

        var head = Encoding.Latin1.GetString(bytes[..end]).Split("\r\n");
        var parts = head[0].Split(' ');
        if (parts.Length != 3 || parts[1].Length == 0 || parts[2] is not ("HTTP/1.1" or "HTTP/1.0"))
            error = "the first line is not '<method> <target> HTTP/1.1'";
        else if (head.Length > HeadersMax)
            error = $"more than {HeadersMax} headers";
        else
            error = ReadHeaders(parts, head, ref request);
        return error.Length > 0 ? UpgradeStatus.Malformed : UpgradeStatus.Complete;
    }

    private static string ReadHeaders(string[] first, string[] head, ref UpgradeRequest request)
    {
        Dictionary<string, string> headers = new(StringComparer.OrdinalIgnoreCase);
        for (var i = 1; i < head.Length; i++)
        {
            var colon = head[i].IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || head[i].AsSpan(0, colon).ContainsAny(" \t") || head[i].AsSpan().ContainsAny('\r', '\n', '\0'))
                return $"header {i} is malformed";
            // The same again says nothing new: a stock edge adds its ConnectionUse once more for each try to connect.
            var (name, value) = (head[i][..colon], head[i][(colon + 1)..].Trim(' ', '\t'));
            if (!headers.TryAdd(name, value) && headers[name] != value && IsRead(name))
                return $"the header {name} stands twice, with different values";
        }

        string Value(string name) => headers.GetValueOrDefault(name, "");
        var isUpgrade = first is ["GET", _, "HTTP/1.1"] && HasToken(Value("Upgrade"), "websocket") && HasToken(Value("Connection"), "upgrade") && Value("Sec-WebSocket-Version") == "13";
        var key = Value("Sec-WebSocket-Key");
        request = new UpgradeRequest
        {
            NodeId = Value("node_id"),
            ConnectionUse = Value("ConnectionUse"),
            Wire = Value(EdgeWire.Header),
            Stream = Value(NodeStreamWire.Header),
            Key = isUpgrade && IsKey(key) ? key : "",
        };
        return "";
    }

    private static bool IsRead(string name)
        => name.ToUpperInvariant() is "NODE_ID" or "CONNECTIONUSE" or "EDGE-WIRE" or "EDGE-STREAM" or "UPGRADE" or "CONNECTION" or "SEC-WEBSOCKET-KEY" or "SEC-WEBSOCKET-VERSION" or "HOST" or "CONTENT-LENGTH" or "TRANSFER-ENCODING";

    private static bool HasToken(string list, string token)
        => list.Split(',').Any(one => one.Trim().Equals(token, StringComparison.OrdinalIgnoreCase));

    // 16 bytes in base64 (RFC 6455 §4.1, 7).
    private static bool IsKey(string key)
    {
        Span<byte> nonce = stackalloc byte[24];
        return key.Length == 24 && Convert.TryFromBase64String(key, nonce, out var length) && length == 16;
    }
}
