using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Edge.Protocol.Tunnel;

namespace Edge.Transport;

/// <summary>Reads the messages of KubeEdge's tunnel out of its WebSocket (kubeedge-wire §5.7, RFC 6455), for either end. One use.</summary>
/// <param name="peer">The other end as the reasons name it: "the edge".</param>
/// <param name="isMasked">The other end is the client, whose frames are masked.</param>
public sealed class TunnelReader(PipeReader reader, string peer, bool isMasked)
{
    private readonly ArrayBufferWriter<byte> _parts = new();

    // A message came in part.
    private bool _isInside;

    /// <summary>Takes the payload of a ping, which asks for a pong.</summary>
    public required Func<byte[], ValueTask> Ping { get; init; }

    /// <summary>Takes each message in its turn, but the one that closes the tunnel; the next is read when it is done.</summary>
    public required Func<TunnelMessage, ValueTask> Message { get; init; }

    /// <summary>Called whenever something came.</summary>
    public required Action Heard { get; init; }

    /// <summary>Reads until the tunnel ends; returns why.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    public async Task<string> RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var result = await reader.ReadAsync(cancellationToken);
            Heard();
            var buffer = result.Buffer;
            WebSocketFrameStatus status;
            while ((status = WebSocketFrame.TryRead(ref buffer, isMasked, TunnelMessage.SizeMax, out var opcode, out var isFinal, out var payload, out var error)) != WebSocketFrameStatus.NeedMoreData)
            {
                if (status == WebSocketFrameStatus.Malformed)
                    return error;
                if (await TakeAsync(opcode, isFinal, payload) is { } end)
                    return end;
            }

            reader.AdvanceTo(buffer.Start, buffer.End);
            if (result.IsCompleted)
                return $"{peer} hung up";
        }
    }

    // One frame; the reason when it ends the tunnel.
    private async ValueTask<string?> TakeAsync(WebSocketOpcode opcode, bool isFinal, byte[] payload)
    {
        switch (opcode)
        {
            case WebSocketOpcode.Ping:
                await Ping(payload);
                return null;
            case WebSocketOpcode.Pong:
                return null;
            case WebSocketOpcode.Close:
                return $"{peer} closed it";
            case WebSocketOpcode.Continuation when !_isInside:
                return "a continuation without a beginning";
            case WebSocketOpcode.Text or WebSocketOpcode.Binary when _isInside:
                return "a message began inside another";
        }

        if (_parts.WrittenCount + payload.Length > TunnelMessage.SizeMax)
            return $"a message is over {TunnelMessage.SizeMax} bytes";
        ReadOnlyMemory<byte> whole = payload;
        if (!isFinal || _isInside)
        {
            _parts.Write(payload);
            _isInside = !isFinal;
            if (!isFinal)
                return null;
            whole = _parts.WrittenSpan.ToArray();
            _parts.ResetWrittenCount();
        }

        if (!TunnelMessage.TryRead(whole, out var message, out var error))
            return error;
        if (message.Type == TunnelMessageType.CloseConnect)
            return $"{peer} closed it: {Encoding.UTF8.GetString(message.Data.Span[..Math.Min(message.Data.Length, 256)])}";
        await Message(message);
        return null;
    }
}
