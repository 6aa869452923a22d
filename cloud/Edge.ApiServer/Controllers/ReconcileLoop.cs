using System.Threading.Channels;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers;

/// <summary>Runs one controller's pass over the world whenever something changed or time is due. Wake-ups that come while a pass runs make
/// one more pass, however many they are. After a long pass it rests. A pass that throws is run again with backoff.</summary>
internal sealed partial class ReconcileLoop : IAsyncDisposable
{
    // Changes come in bursts (kubectl apply -f of many); one pass for a burst costs this much delay.
    private static readonly TimeSpan s_burst = TimeSpan.FromMilliseconds(10);
    // A pass over a large cluster takes long: after it as many times its own length is rest, so that changes that never end do not take a whole core.
    private const int RestFactor = 3;
    private static readonly TimeSpan s_restMax = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(0.2);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(10);

    // One token says all: "look again". More would say no more, so writes to a full channel may be dropped.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _stop = new();
    // Timers reach 49 days; a pass too many does no harm.
    private static readonly TimeSpan s_waitMax = TimeSpan.FromDays(1);

    private readonly string _name;
    private readonly Func<CancellationToken, Task<TimeSpan?>> _pass;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _logger;
    private Task? _loop;

    /// <param name="name">For the log.</param>
    /// <param name="pass">One pass; answers after what time at the latest the next one is due, null for "when woken".</param>
    public ReconcileLoop(string name, Func<CancellationToken, Task<TimeSpan?>> pass, TimeProvider time, Random random, ILogger logger)
    {
        _name = name;
        _pass = pass;
        _time = time;
        _random = random;
        _logger = logger;
    }

    public void Start() => _loop = Task.Run(() => RunAsync(_stop.Token));

    public void Wake() => _wake.Writer.TryWrite(true);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_loop is not null)
            await _loop;
        _stop.Dispose();
    }

    private async Task RunAsync(CancellationToken token)
    {
        var failures = 0;
        try
        {
            while (true)
            {
                _wake.Reader.TryRead(out _);
                TimeSpan? next = null;
                var began = _time.GetTimestamp();
                try
                {
                    next = await _pass(token);
                    failures = 0;
                }
                catch (KubeException e)
                {
                    failures++;
                    LogFailed(_logger, _name, e.Code, e.Message);
                }
                catch (Exception e) when (!token.IsCancellationRequested)
                {
                    failures++;
                    LogUnexpected(_logger, _name, e);
                }

                if (failures > 0)
                {
                    var wait = Backoff.FullJitter(failures, s_backoffMin, s_backoffMax, _random);

                    await Task.Delay(wait, _time, token);
                    continue;
                }

                var rest = _time.GetElapsedTime(began) * RestFactor;
                await WaitAsync(next, token);
                await Task.Delay(rest < s_burst ? s_burst : rest < s_restMax ? rest : s_restMax, _time, token);
            }
        }
        catch (OperationCanceledException) when (token.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    private async Task WaitAsync(TimeSpan? atMost, CancellationToken token)
    {
        if (atMost is not { } wait)
        {
            await _wake.Reader.WaitToReadAsync(token);
            return;
        }

        if (wait <= TimeSpan.Zero)
            return;
        if (wait > s_waitMax)
            wait = s_waitMax;
        using var due = new CancellationTokenSource(wait, _time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(token, due.Token);
        try
        {
            await _wake.Reader.WaitToReadAsync(linked.Token);
        }
        catch (OperationCanceledException) when (!token.IsCancellationRequested)
        {
            // Time is due.
        }
    }

    [LoggerMessage(3200, LogLevel.Warning, "{Controller}: the API answered {Code}, trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string controller, int code, string message);

    [LoggerMessage(3201, LogLevel.Error, "{Controller}: a pass failed, trying again")]
    private static partial void LogUnexpected(ILogger logger, string controller, Exception exception);
}
