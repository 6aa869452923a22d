using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;

namespace Edge.ApiServer.InProcess;

/// <summary>Connections to the API from within the process: two pipes instead of a socket and TLS, so that cloudcore's own watches and writes
/// cost neither system calls nor encryption. What is said on them is the same HTTP/2, judged by the same token and rights.</summary>
internal sealed class InProcessTransport : IConnectionListenerFactory, IConnectionListenerFactorySelector, IConnectionListener
{
    // What one side may send before the other has read it; large enough for a page of a list.
    private const int PauseBytes = 1024 * 1024;

    private static readonly PipeOptions s_pipe = new(pauseWriterThreshold: PauseBytes, resumeWriterThreshold: PauseBytes / 2, useSynchronizationContext: false);

    // A client waits for its connection, so more than a few never stand here.
    private readonly Channel<ConnectionContext> _arrivals = Channel.CreateBounded<ConnectionContext>(16);
    private int _connections;

    public EndPoint EndPoint { get; } = new InProcessEndPoint();

    public bool CanBind(EndPoint endpoint) => endpoint is InProcessEndPoint;

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) => new(this);

    /// <summary>A new connection; the client's end of it.</summary>
    /// <exception cref="IOException">The API has ended.</exception>
    public async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        var (up, down) = (new Pipe(s_pipe), new Pipe(s_pipe));
        var id = string.Create(CultureInfo.InvariantCulture, $"in-process-{Interlocked.Increment(ref _connections)}");
        var client = new InProcessStream(down.Reader, up.Writer);
        try
        {
            await _arrivals.Writer.WriteAsync(new Connection(id, new Ends(up.Reader, down.Writer), EndPoint, client), cancellationToken);
        }
        catch (ChannelClosedException e)
        {
            throw new IOException("the embedded API has ended", e);
        }

        return client;
    }

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (await _arrivals.Reader.WaitToReadAsync(cancellationToken))
        {
            if (_arrivals.Reader.TryRead(out var connection))
                return connection;
        }

        return null;
    }

    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _arrivals.Writer.TryComplete();
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await UnbindAsync();
        while (_arrivals.Reader.TryRead(out var never))
            await never.DisposeAsync();
    }

    private sealed record Ends(PipeReader Input, PipeWriter Output) : IDuplexPipe;

    private sealed class InProcessEndPoint : EndPoint
    {
        public override string ToString() => "in-process";
    }

    /// <summary>The server's end; disposing it ends both directions, as closing a socket does.</summary>
    private sealed class Connection : DefaultConnectionContext
    {
        private readonly InProcessStream _client;

        public Connection(string id, IDuplexPipe ends, EndPoint endpoint, InProcessStream client)
            : base(id, ends, ends)
        {
            _client = client;
            LocalEndPoint = endpoint;
            RemoteEndPoint = endpoint;
        }

        public override void Abort(ConnectionAbortedException abortReason)
        {
            _client.Abort();
            base.Abort(abortReason);
        }

        public override async ValueTask DisposeAsync()
        {
            await Transport.Input.CompleteAsync();
            await Transport.Output.CompleteAsync();
            await base.DisposeAsync();
        }
    }
}
