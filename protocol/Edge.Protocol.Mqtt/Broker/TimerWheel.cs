namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Something that may be due. Its owner is asked when its slot comes; so a deadline that moves later costs nothing until then.</summary>
internal abstract class Timed
{
    /// <summary>When the earliest entry of the wheel for it comes up, ms; <see cref="long.MaxValue"/>: it has none.</summary>
    internal long SlotMs { get; set; } = long.MaxValue;
}

/// <summary>One wheel for all deadlines (pure): slots of <see cref="TickMs"/>, later ones go round again.</summary>
internal sealed class TimerWheel(long now)
{
    public const int TickMs = 250;
    private const int Slots = 512;

    private readonly List<Timed>?[] _slots = new List<Timed>?[Slots];
    private readonly List<Timed> _due = [];
    private long _tick = now / TickMs;

    /// <summary>Asks for a call at <paramref name="dueMs"/> or up to a tick later.</summary>
    public void Schedule(Timed item, long dueMs)
    {
        if (item.SlotMs <= dueMs)
            return;
        // At least the next tick, at most one round ahead.
        var tick = Math.Clamp((dueMs / TickMs) + 1, _tick + 1, _tick + Slots - 1);
        item.SlotMs = tick * TickMs;
        (_slots[tick % Slots] ??= []).Add(item);
    }

    /// <summary>Calls <paramref name="due"/> for everything whose slot has come; it schedules anew what is not due yet.</summary>
    public void Advance(long now, Action<Timed> due)
    {
        var end = now / TickMs;
        // After a long sleep of the machine one round meets everything.
        if (end - _tick > Slots)
            _tick = end - Slots;
        while (_tick < end)
        {
            _tick++;
            var slot = _slots[_tick % Slots];
            if (slot is null || slot.Count == 0)
                continue;
            _due.AddRange(slot);
            slot.Clear();
            if (slot.Capacity > 64)
                _slots[_tick % Slots] = null;
            foreach (var item in _due)
            {
                item.SlotMs = long.MaxValue;
                due(item);
            }

            _due.Clear();
        }
    }
}
