namespace Edge.Protocol.Modbus;

/// <summary>Something to read: a stretch of one table.</summary>
/// <param name="Count">Registers, or bits of a bit table; at least 1 and at most what one request may carry.</param>
/// <param name="Tag">The caller's; comes back with the read that covers it.</param>
public readonly record struct ReadSpan(ModbusFunction Table, ushort Address, int Count, int Tag)
{
    public int End => Address + Count;
}

/// <summary>One request of a plan, and what it covers: <see cref="First"/> to <see cref="First"/> + <see cref="Length"/> - 1 of the plan's order.</summary>
public readonly record struct PlannedRead(ModbusFunction Table, ushort Address, ushort Count, int First, int Length);

/// <summary>The fewest reads that cover a set of stretches. Pure.</summary>
/// <remarks>Each stretch lies whole in one read, so that a value is never put together from two moments. Along a table the read that begins
/// at the lowest stretch not covered yet takes every stretch that begins within the gap behind it and ends within the limit. Giving one of those to a
/// later read never saves a read, so the plan has the fewest there can be; a test compares it with every possible partition.</remarks>
public static class ReadPlan
{
    /// <summary>Plans; sorts <paramref name="spans"/> into the order that the reads point into.</summary>
    /// <param name="gap">Registers (or bits) that nobody asked for and one read may carry between two stretches; 0 joins only what touches.</param>
    /// <param name="registersMax">Registers of one read, at most 125; less for slaves that take less.</param>
    /// <param name="bitsMax">Bits of one read, at most 2000.</param>
    public static void Make(
        Span<ReadSpan> spans, int gap, List<PlannedRead> reads, int registersMax = ModbusPdu.ReadRegistersMax, int bitsMax = ModbusPdu.ReadBitsMax)
    {
        reads.Clear();
        spans.Sort(static (a, b) => a.Table != b.Table ? a.Table.CompareTo(b.Table) : a.Address != b.Address ? a.Address.CompareTo(b.Address) : b.Count.CompareTo(a.Count));
        for (var next = 0; next < spans.Length;)
        {
            var (table, start, end) = (spans[next].Table, spans[next].Address, spans[next].End);
            var limit = table is ModbusFunction.ReadCoils or ModbusFunction.ReadDiscreteInputs ? bitsMax : registersMax;
            var first = next;
            var kept = next + 1;

            // Stretches that do not fit are pushed behind those that do, in their order: they begin a later read.
            for (var i = kept; i < spans.Length && spans[i].Table == table && spans[i].Address - end <= gap && spans[i].Address - start < limit; i++)
            {
                if (spans[i].End - start > limit)
                    continue;
                end = Math.Max(end, spans[i].End);
                var one = spans[i];
                spans[kept..i].CopyTo(spans[(kept + 1)..]);
                spans[kept++] = one;
            }

            reads.Add(new PlannedRead(table, start, (ushort)(end - start), first, kept - first));
            next = kept;
        }
    }
}
