using System.Buffers;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;
using Edge.Common.Streaming;
using Edge.Core.Configuration;
using Edge.Protocol.Tunnel;
using Edge.Transport;

namespace Edge.Core.EdgeStream;

/// <summary>A tunnel to a stock cloud that stands: reads its messages, does the requests they carry at the node's local API, and sends what comes of them. For logs and stats that is the answer's
/// body alone, for exec and attach all bytes of the connection, as a stock edge does it. One use, one caller.</summary>
internal sealed class TunnelSession(Stream socket, PipeReader reader, Func<LocalApiAt?> api, EdgeStreamOptions options, TimeProvider time) : IAsyncDisposable
{
    /// <summary>Connections at once, as many as the local API serves; further ones are ended at once.</summary>
    public const int ConnectionsMax = 64;

    // A stock cloud reads messages up to 1 MiB.
    private const int PieceSize = 16 * 1024;

    // Of each connection: what the cloud sent and the local API has not taken.
    private const int BufferSize = 1 << 20;
    private static readonly TimeSpan s_pingEvery = TimeSpan.FromSeconds(5);

    // The tunnel has no flow control: one that takes nothing would hold up the others.
    private static readonly TimeSpan s_stallMax = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<ulong, Connection> _connections = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _writing = new(1);
    private string? _ended;

    /// <summary>Serves until the tunnel ends; returns why.</summary>
    public async Task<string> RunAsync(CancellationToken stopping)
    {
        using var stopped = stopping.UnsafeRegister(static state => ((TunnelSession)state!).Close("edgecore stops"), this);
        var pinging = PingAsync();
        string reason;
        try
        {
            reason = await ReadAsync();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            reason = e.Message;
        }

        Close(reason);
        await pinging;
        await Task.WhenAll(_connections.Values.Select(one => one.Served));
        return _ended!;
    }

    public ValueTask DisposeAsync()
    {
        _stop.Dispose();
        _writing.Dispose();
        return ValueTask.CompletedTask;
    }

    // First reason wins.
    private void Close(string reason)
    {
        if (Interlocked.CompareExchange(ref _ended, reason, null) is null)
            _stop.Cancel();
    }

    private async Task PingAsync()
    {
        try
        {
            while (true)
            {
                await Task.Delay(s_pingEvery, time, _stop.Token);
                await SendAsync(WebSocketOpcode.Ping, "ping you"u8.ToArray());
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            Close(e.Message);
        }
    }

    private async Task SendAsync(WebSocketOpcode opcode, byte[] payload)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(options.WriteDeadlineSeconds), time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _stop.Token);
        try
        {
            await _writing.WaitAsync(both.Token);
            try
            {
                await socket.WriteAsync(WebSocketFrame.Write(opcode, payload, RandomNumberGenerator.GetBytes(4)), both.Token);
            }
            finally
            {
                _writing.Release();
            }
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested)
        {
            // Half a frame may be out: nothing can follow it.
            Close($"the cloud took nothing for {options.WriteDeadlineSeconds} s");
            throw new IOException(_ended);
        }
    }

    private Task SendAsync(ulong id, TunnelMessageType type, ReadOnlyMemory<byte> data = default) => SendAsync(WebSocketOpcode.Text, new TunnelMessage(id, type, data).ToBytes());

    private async Task<string> ReadAsync()
    {
        var silence = TimeSpan.FromSeconds(options.ReadDeadlineSeconds);
        await using var timer = time.CreateTimer(_ => Close($"the cloud said nothing for {silence.TotalSeconds:0} s, no answer to pings either"), null, silence, Timeout.InfiniteTimeSpan);
        return await new TunnelReader(reader, "the cloud", isMasked: false)
        {
            Heard = () => timer.Change(silence, Timeout.InfiniteTimeSpan),
            Ping = payload => new ValueTask(SendAsync(WebSocketOpcode.Pong, payload)),
            Message = TakeAsync,
        }.RunAsync(_stop.Token);
    }

    private async ValueTask TakeAsync(TunnelMessage message)
    {
        switch (message.Type)
        {
            case TunnelMessageType.RemoveConnect:
                if (_connections.TryGetValue(message.Id, out var removed))
                    removed.Remove();
                break;
            case TunnelMessageType.Data:
                if (_connections.TryGetValue(message.Id, out var connection) && !await connection.TakeAsync(message.Data, time, _stop.Token))
                    connection.Remove();
                break;
            default:
                await BeginAsync(message);
                break;
        }
    }

    private async Task BeginAsync(TunnelMessage message)
    {
        if (_connections.Count >= ConnectionsMax || _connections.ContainsKey(message.Id) || TunnelConnect.Read(message, out _) is not { } asked)
        {
            await SendAsync(message.Id, TunnelMessageType.RemoveConnect);
            return;
        }

        var connection = new Connection(_stop.Token);
        _connections[message.Id] = connection;
        connection.Served = ServeAsync(asked, connection);
    }

    // Does not throw.
    private async Task ServeAsync(TunnelConnect asked, Connection connection)
    {
        await Task.Yield(); // the tunnel's reader goes on
        try
        {
            var head = Head(asked);
            if (RequestHead.Read(head, out var problem) <= 0)
                await AnswerAsync(asked, 403, problem);
            else if (api() is not { Port: > 0 } at)
                await AnswerAsync(asked, 503, LocalApiAt.NotServed);
            else if (asked.IsRaw)
                await JoinAsync(asked.Id, RequestHead.WithToken(head, at.Token), at, connection);
            else
                await AskAsync(asked, at, connection.Ended);
        }
        catch (Exception e) when (e is IOException or SocketException or HttpRequestException or AuthenticationException or OperationCanceledException or ObjectDisposedException)
        {
            // One side hung up; the cloud is told below, unless it was that.
        }

        try
        {
            if (!connection.IsRemoved && !_stop.IsCancellationRequested)
                await SendAsync(asked.Id, TunnelMessageType.RemoveConnect);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            Close(e.Message);
        }

        _connections.TryRemove(asked.Id, out _);
        connection.Dispose();
    }

    // The local API's answers to logs and stats go up without their head, as a stock edge sends them: so do refusals.
    private Task AnswerAsync(TunnelConnect asked, int code, string reason)
        => SendAsync(asked.Id, TunnelMessageType.Data, asked.IsRaw ? RequestHead.Answer(code, reason) : Encoding.UTF8.GetBytes(reason + "\n"));

    private async Task AskAsync(TunnelConnect asked, LocalApiAt at, CancellationToken cancellationToken)
    {
        using var client = NodeRelay.Client((_, token) => at.ConnectAsync(token));
        using var request = NodeRelay.Request("GET", "localhost", Target(asked));
        request.Headers.TryAddWithoutValidation("Authorization", "Bearer " + at.Token);
        using var answer = await client.SendAsync(request, cancellationToken);
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        await SendAllAsync(asked.Id, body, cancellationToken);
    }

    private async Task JoinAsync(ulong id, byte[] head, LocalApiAt at, Connection connection)
    {
        await using var local = await at.ConnectAsync(connection.Ended);
        await local.WriteAsync(head, connection.Ended);
        var down = connection.CopyToAsync(local);
        try
        {
            await SendAllAsync(id, local, connection.Ended);
        }
        finally
        {
            connection.End();
            await down;
        }
    }

    private async Task SendAllAsync(ulong id, Stream from, CancellationToken cancellationToken)
    {
        var block = ArrayPool<byte>.Shared.Rent(PieceSize);
        try
        {
            while (await from.ReadAsync(block.AsMemory(0, PieceSize), cancellationToken) is > 0 and var read)
                await SendAsync(id, TunnelMessageType.Data, block.AsMemory(0, read));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private static byte[] Head(TunnelConnect asked)
    {
        var head = new StringBuilder($"{(asked.IsRaw && asked.Method.Length > 0 ? asked.Method : "GET")} {Target(asked)} HTTP/1.1\r\nHost: localhost\r\n");
        // What would begin another line does not belong into a header.
        foreach (var (name, value) in asked.Headers.Where(header => !header.Key.Any(char.IsControl) && !header.Value.Any(char.IsControl) && !header.Key.Equals("Host", StringComparison.OrdinalIgnoreCase)))
            head.Append(name).Append(": ").Append(value).Append("\r\n");
        return Encoding.Latin1.GetBytes(head.Append("\r\n").ToString());
    }

    // The local API takes the summary with its query alone.
    private static string Target(TunnelConnect asked) => asked.RawQuery.Length > 0 || asked.Type == TunnelMessageType.MetricsConnect ? $"{asked.RawPath}?{asked.RawQuery}" : asked.RawPath;

    private sealed class Connection : IDisposable
    {
        private readonly Pipe _down = new(new PipeOptions(pauseWriterThreshold: BufferSize, resumeWriterThreshold: BufferSize / 2, useSynchronizationContext: false));
        private readonly CancellationTokenSource _ended;

        public Connection(CancellationToken tunnel) => _ended = CancellationTokenSource.CreateLinkedTokenSource(tunnel);

        public CancellationToken Ended => _ended.Token;

        public Task Served { get; set; } = Task.CompletedTask;

        /// <summary>The cloud ended it, or knows.</summary>
        public bool IsRemoved { get; private set; }

        /// <summary>What the cloud sent; false when nobody takes it. Only the tunnel's reader calls.</summary>
        public async ValueTask<bool> TakeAsync(ReadOnlyMemory<byte> data, TimeProvider time, CancellationToken cancellationToken)
        {
            try
            {
                return !(await _down.Writer.WriteAsync(data, cancellationToken).AsTask().WaitAsync(s_stallMax, time, cancellationToken)).IsCompleted;
            }
            catch (Exception e) when (e is TimeoutException or InvalidOperationException)
            {
                return false;
            }
        }

        /// <summary>Writes what the cloud sends until the connection ends. Does not throw.</summary>
        public async Task CopyToAsync(Stream local)
        {
            try
            {
                await _down.Reader.CopyToAsync(local, Ended);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
            {
                End();
            }

            await _down.Reader.CompleteAsync();
        }

        public void Remove()
        {
            IsRemoved = true;
            End();
        }

        public void End()
        {
            try
            {
                _ended.Cancel();
            }
            catch (ObjectDisposedException)
            {
                // It ended by itself in this moment.
            }
        }

        public void Dispose() => _ended.Dispose();
    }
}
