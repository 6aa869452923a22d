using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Push;

/// <summary>The samples on their way to one target: batches by size or age, a batch is repeated with growing delays until it is taken. Bounded: while the
/// target is away the oldest samples make room for newer ones, and are counted.</summary>
public sealed class PushQueue : IAsyncDisposable
{
    /// <summary>Samples that wait at most; at some 200 bytes each, 2 MB.</summary>
    public const int WaitingMax = 10_000;

    /// <summary>Samples of one batch.</summary>
    public const int BatchMax = 500;

    private const double RetryMsFirst = 500;
    private const double RetryMsMax = 30_000;
    private static readonly TimeSpan s_linger = TimeSpan.FromSeconds(1);
    private readonly IPushTarget _target;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<Sample> _waiting;
    private readonly Task _loop;
    private long _sent;
    private long _dropped;
    private long _failures;

    public PushQueue(IPushTarget target, TimeProvider time, Random random, ILogger log)
    {
        _target = target;
        _time = time;
        _random = random;
        _log = log;

        // The newest values are worth more than the oldest.
        _waiting = Channel.CreateBounded<Sample>(
            new BoundedChannelOptions(WaitingMax) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true }, _ => Interlocked.Increment(ref _dropped));
        _loop = Task.Run(RunAsync);
    }

    public string Name => _target.Name;

    public int Waiting => _waiting.Reader.Count;

    /// <summary>Samples that the target took.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    /// <summary>Samples that were lost: no room, or refused for good.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    /// <summary>Batches that were not taken at a try.</summary>
    public long Failures => Interlocked.Read(ref _failures);

    /// <summary>Puts a sample in the queue; never waits.</summary>
    public void Post(in Sample sample) => _waiting.Writer.TryWrite(sample);

    /// <summary>Ends; what waits is lost.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        await _target.DisposeAsync();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            var batch = new List<Sample>(BatchMax);
            while (true)
            {
                batch.Clear();
                batch.Add(await _waiting.Reader.ReadAsync(_stop.Token));
                await FillAsync(batch);
                try
                {
                    await SendAsync(batch);
                }
                catch (Exception e) when (!_stop.IsCancellationRequested)
                {
                    // A fault of the target's code, which sending the same again would meet again: this batch is lost, those that follow are not.
                    Interlocked.Increment(ref _failures);
                    Interlocked.Add(ref _dropped, batch.Count);
                    PushLog.Broken(_log, Name, batch.Count, e);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    // A second of samples together, or as many as go into a batch.
    private async Task FillAsync(List<Sample> batch)
    {
        using var age = new CancellationTokenSource(s_linger, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(age.Token, _stop.Token);
        try
        {
            while (batch.Count < BatchMax)
                batch.Add(await _waiting.Reader.ReadAsync(either.Token));
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            // Old enough.
        }
    }

    private async Task SendAsync(List<Sample> batch)
    {
        for (var failures = 0; ; failures++)
        {
            try
            {
                await _target.PushAsync(batch, _stop.Token);
                Interlocked.Add(ref _sent, batch.Count);
                if (failures > 0)
                    PushLog.Recovered(_log, Name, failures);
                return;
            }
            catch (PushException e)
            {
                Interlocked.Increment(ref _failures);
                if (e.IsFinal)
                {
                    var refused = Math.Clamp(e.Refused ?? batch.Count, 0, batch.Count);
                    Interlocked.Add(ref _dropped, refused);
                    Interlocked.Add(ref _sent, batch.Count - refused);
                    PushLog.Refused(_log, Name, refused, e.Message);
                    return;
                }

                if (failures == 0)
                    PushLog.Failed(_log, Name, e.Message, WaitingMax);
            }

            double share;
            lock (_random)
                share = 0.5 + (_random.NextDouble() / 2);
            await Task.Delay(TimeSpan.FromMilliseconds(share * Math.Min(RetryMsMax, RetryMsFirst * Math.Pow(2, Math.Min(failures, 20)))), _time, _stop.Token);
        }
    }
}
