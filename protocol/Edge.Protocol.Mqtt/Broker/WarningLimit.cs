using Microsoft.Extensions.Logging;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Lets ten warnings through in ten seconds: a client that misbehaves must not fill the log. What was left out is counted, and said.</summary>
internal sealed class WarningLimit(ILogger logger)
{
    private const int CountMax = 10;
    private const long PeriodMs = 10_000;

    private readonly Lock _gate = new();
    private long _since = -PeriodMs;
    private int _count;
    private long _left;

    public void Log(long nowMs, Action log)
    {
        long left = 0;
        lock (_gate)
        {
            if (nowMs - _since >= PeriodMs)
            {
                left = _left;
                (_since, _count, _left) = (nowMs, 0, 0);
            }

            if (++_count > CountMax)
            {
                _left++;
                return;
            }
        }

        if (left > 0)
            MqttLog.Suppressed(logger, left);
        log();
    }
}
