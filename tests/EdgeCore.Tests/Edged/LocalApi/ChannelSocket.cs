using System.Net.WebSockets;
using System.Text;

namespace Edge.Core.Tests.LocalApi;

/// <summary>A client of Kubernetes' v4.channel.k8s.io: each WebSocket message begins with the number of its channel.</summary>
internal sealed class ChannelSocket : IDisposable
{
    private readonly ClientWebSocket _socket = new();
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));

    public static async Task<ChannelSocket> ConnectAsync(RunningLocalApi api, string pathAndQuery)
    {
        var client = new ChannelSocket();
        client._socket.Options.AddSubProtocol("v4.channel.k8s.io");
        client._socket.Options.SetRequestHeader("Authorization", "Bearer " + api.Token);
        await client._socket.ConnectAsync(new Uri($"ws://127.0.0.1:{api.Port}{pathAndQuery}"), client._limit.Token);
        Assert.Equal("v4.channel.k8s.io", client._socket.SubProtocol);
        return client;
    }

    public Task SendAsync(byte channel, string text)
        => _socket.SendAsync((byte[])[channel, .. Encoding.UTF8.GetBytes(text)], WebSocketMessageType.Binary, endOfMessage: true, _limit.Token);

    /// <summary>Reads until the condition holds for what each channel has said, or the server closes; returns that.</summary>
    public async Task<Dictionary<int, string>> ReadUntilAsync(Func<Dictionary<int, string>, bool> enough, int skipBytes = 0)
    {
        var said = new Dictionary<int, string>();
        var skipped = new Dictionary<int, int>();
        var buffer = new byte[64 * 1024];
        while (!enough(said))
        {
            var length = 0;
            WebSocketReceiveResult part;
            do
            {
                part = await _socket.ReceiveAsync(new ArraySegment<byte>(buffer, length, buffer.Length - length), _limit.Token);
                length += part.Count;
            }
            while (!part.EndOfMessage);
            if (part.MessageType == WebSocketMessageType.Close)
                break;
            if (length == 0)
                continue;
            var channel = (int)buffer[0];
            var skip = Math.Min(length - 1, skipBytes - skipped.GetValueOrDefault(channel));
            skipped[channel] = skipped.GetValueOrDefault(channel) + skip;
            said[channel] = said.GetValueOrDefault(channel, "") + Encoding.UTF8.GetString(buffer, 1 + skip, length - 1 - skip);
        }

        return said;
    }

    public void Dispose()
    {
        _socket.Dispose();
        _limit.Dispose();
    }
}
