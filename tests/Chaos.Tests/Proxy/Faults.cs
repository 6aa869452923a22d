namespace Edge.Chaos.Tests;

/// <summary>What may happen to a link.</summary>
internal enum Fault
{
    Close,
    Reset,
    Delay,
    HalfOpenUp,
    HalfOpenDown,
    HalfOpenBoth,
    CorruptUp,
    CorruptDown,
}

/// <summary>Puts faults on the links of a proxy.</summary>
internal static class Faults
{
    private const int DelayMsMax = 60;

    public static IReadOnlyList<Fault> All { get; } = Enum.GetValues<Fault>();

    /// <summary>One of them by chance.</summary>
    public static Fault Put(FaultProxy proxy, Random random)
    {
        var fault = All[random.Next(All.Count)];
        Put(proxy, fault, TimeSpan.FromMilliseconds(1 + random.Next(DelayMsMax)));
        return fault;
    }

    /// <summary>This one.</summary>
    /// <param name="delay">Of <see cref="Fault.Delay"/>, which lasts until it is taken back.</param>
    /// <returns>The links that it was put on.</returns>
    public static IReadOnlyList<ProxiedLink> Put(FaultProxy proxy, Fault fault, TimeSpan delay)
    {
        var links = proxy.Links;
        if (fault == Fault.Delay)
            proxy.Delay = delay;
        foreach (var link in links)
        {
            switch (fault)
            {
                case Fault.Close or Fault.Reset:
                    link.Cut(fault == Fault.Reset);
                    break;
                case Fault.HalfOpenUp or Fault.HalfOpenDown or Fault.HalfOpenBoth:
                    link.Silence(fault switch { Fault.HalfOpenUp => Direction.Up, Fault.HalfOpenDown => Direction.Down, _ => Direction.Both });
                    break;
                case Fault.CorruptUp or Fault.CorruptDown:
                    link.Corrupt(fault == Fault.CorruptUp ? Direction.Up : Direction.Down);
                    break;
            }
        }

        return links;
    }
}
