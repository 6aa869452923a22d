using System.Net.Sockets;

namespace Edge.Devices.Push;

/// <summary>What the targets over TCP share: one connection, dialled with the first batch and again with the next after it failed. What goes wrong with the connection is tried
/// again.</summary>
/// <param name="timeout">For the connection, and for each batch.</param>
public abstract class TcpTarget(string name, string host, int port, TimeSpan timeout, TimeProvider time) : IPushTarget
{
    private NetworkStream? _stream;

    public string Name => name;

    public async Task PushAsync(IReadOnlyList<Sample> batch, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(timeout, time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        var isWhole = false;
        try
        {
            _stream ??= await ConnectAsync(limit.Token);
            await SendAsync(_stream, batch, limit.Token);
            isWhole = true;
        }
        catch (PushException e) when (e.IsFinal)
        {
            isWhole = true; // its answer was read to the end: the connection is as good as before
            throw;
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            throw new PushException(e.Message, isFinal: false, e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new PushException($"no answer within {timeout.TotalMilliseconds:0} ms", isFinal: false, e);
        }
        finally
        {
            if (!isWhole)
                Close();
        }
    }

    public ValueTask DisposeAsync()
    {
        Close();
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    /// <summary>Greets the server and says who calls.</summary>
    /// <exception cref="PushException">It does not let us in.</exception>
    protected abstract Task OpenAsync(Stream stream, CancellationToken cancellationToken);

    /// <summary>Sends a batch and reads the answers to the end.</summary>
    /// <exception cref="PushException">It was not taken; when that is final, the answers were read to the end all the same.</exception>
    protected abstract Task SendAsync(Stream stream, IReadOnlyList<Sample> batch, CancellationToken cancellationToken);

    private async Task<NetworkStream> ConnectAsync(CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(host, port, cancellationToken);
            var stream = new NetworkStream(socket, ownsSocket: true);
            await OpenAsync(stream, cancellationToken);
            return stream;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private void Close()
    {
        _stream?.Dispose();
        _stream = null;
    }
}
