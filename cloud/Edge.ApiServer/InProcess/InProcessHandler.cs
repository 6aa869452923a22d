using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.InProcess;

/// <summary>The API as an HTTP client's handler: requests from within the process go to the request handler itself, without connection, framing or encryption. They are judged by the
/// same token and rights, and audited like any other. A watch that asks for objects (<see cref="ObjectWatch"/>) gets those that every other such watch gets too.</summary>
internal sealed class InProcessHandler(RequestDelegate serve) : HttpMessageHandler
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _ending = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _running; // under _gate
    private bool _isEnded; // under _gate

    /// <summary>Refuses new requests, ends the watches and waits for what is under way.</summary>
    public async Task EndAsync(TimeSpan within, TimeProvider time)
    {
        lock (_gate)
        {
            _isEnded = true;
            if (_running == 0)
                _idle.TrySetResult();
        }

        await _ending.CancelAsync();
        try
        {
            await _idle.Task.WaitAsync(within, time);
        }
        catch (TimeoutException)
        {
            // As with connections from outside: who does not end in time is left behind.
        }
    }

    /// <exception cref="HttpRequestException">The API has ended.</exception>
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var body = request.Content switch
        {
            null => [],
            WholeContent whole => whole.Bytes,
            var content => await content.ReadAsByteArrayAsync(cancellationToken),
        };
        lock (_gate)
        {
            if (_isEnded)
                throw new HttpRequestException("the embedded API has ended");
            _running++;
        }

        var exchange = new InProcessExchange(request, body, request.Options.TryGetValue(ObjectWatch.Asked, out var isAsked) && isAsked, _ending.Token);
        _ = ServeAsync(exchange); // never throws; EndAsync waits for it
        try
        {
            // Cancelled by its caller before it is answered: as with a connection, the request is told, and its end not waited for.
            await exchange.Started.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            exchange.Leave();
            throw;
        }

        return await exchange.AnswerAsync(request);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _ending.Dispose();
        base.Dispose(disposing);
    }

    private async Task ServeAsync(InProcessExchange exchange)
    {
        try
        {
            await serve(exchange.Context);
            exchange.Complete(null);
        }
        catch (Exception e)
        {
            // Nobody awaits the handler of a stream: whoever reads it gets its fault.
            exchange.Complete(e);
        }
        finally
        {
            lock (_gate)
            {
                if (--_running == 0 && _isEnded)
                    _idle.TrySetResult();
            }
        }
    }
}
