using System.Buffers;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Turns the bytes of a CRI log file into what the container wrote: pieces of a line joined, lines before a time left out, times before
/// lines when asked, no more than so many bytes. Pure; holds no more than a line's head whatever the lines' length, so it may be fed in any pieces.</summary>
internal sealed class CriLogDecoder(DateTimeOffset? since, bool timestamps, long limitBytes)
{
    private readonly byte[] _head = new byte[LogLine.HeadMax];
    private int _headLength;
    private State _state = State.Head;
    private LogLineKind _kind;
    private bool _continues;
    private bool _skipsWhole;
    private long _left = limitBytes;

    private enum State
    {
        Head,
        Text,
        Skip,
    }

    /// <summary>True once the limit is reached: nothing more comes out.</summary>
    public bool IsFull => _left <= 0;

    /// <summary>Lines that were no lines of a CRI log, and were left out as a kubelet leaves them out.</summary>
    public long Malformed { get; private set; }

    /// <summary>Takes the next bytes of the file.</summary>
    public void Feed(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        while (data.Length > 0 && !IsFull)
        {
            if (_state == State.Head)
                data = FeedHead(data, output);
            else
                data = FeedText(data, output);
        }
    }

    /// <summary>The file ends here and another begins: what was unfinished stays unfinished.</summary>
    public void EndOfFile()
    {
        _headLength = 0;
        _state = State.Head;
    }

    private ReadOnlySpan<byte> FeedHead(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        var take = Math.Min(data.Length, _head.Length - _headLength);
        var newline = data[..take].IndexOf((byte)'\n');
        var copied = newline >= 0 ? newline : take;
        data[..copied].CopyTo(_head.AsSpan(_headLength));
        var held = _headLength;
        _headLength += copied;
        _kind = LogLine.Read(_head.AsSpan(0, _headLength), out var timeLength, out var length);
        if (_kind == LogLineKind.Malformed && length == 0 && newline < 0 && _headLength < _head.Length)
            return data[copied..]; // more of the head is to come
        _headLength = 0;
        if (_kind == LogLineKind.Malformed || !LogTimestamp.TryParse(_head.AsSpan(0, timeLength), out var time))
        {
            Malformed++;
            _state = newline >= 0 ? State.Head : State.Skip;
            return data[(newline >= 0 ? newline + 1 : copied)..];
        }

        // A line of several pieces is shown or left out as a whole, by the time of its first.
        if (!_continues)
            _skipsWhole = since is { } from && time < from;
        _state = _skipsWhole ? State.Skip : State.Text;
        if (!_continues && timestamps && !_skipsWhole)
        {
            Span<byte> text = stackalloc byte[LogLine.HeadMax + 17];
            var written = LogTimestamp.Normalize(_head.AsSpan(0, timeLength), text);
            text[written] = (byte)' ';
            Write(text[..(written + 1)], output);
        }

        // The head ended in these bytes, since the ones before did not have all of it.
        return data[(length - held)..];
    }

    private ReadOnlySpan<byte> FeedText(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        var newline = data.IndexOf((byte)'\n');
        var text = newline >= 0 ? data[..newline] : data;
        if (_state == State.Text)
            Write(text, output);
        if (newline < 0)
            return [];
        if (_kind != LogLineKind.Malformed)
        {
            if (_state == State.Text && _kind == LogLineKind.Full)
                Write("\n"u8, output);
            _continues = _kind == LogLineKind.Partial;
        }

        _state = State.Head;
        return data[(newline + 1)..];
    }

    private void Write(ReadOnlySpan<byte> text, IBufferWriter<byte> output)
    {
        if (text.Length > _left)
            text = text[..(int)Math.Max(0, _left)];
        output.Write(text);
        _left -= text.Length;
    }
}
