/// Rows under a heading, columns two spaces apart. A column without any content is left out.
struct Table {
  enum Alignment { case left, right }

  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  init(_ columns: (String, Alignment)...) {
    self.columns = columns.map { (title: $0.0, alignment: $0.1) }
  }

  /// As many cells as there are columns.
  mutating func add(_ cells: String?...) {
    precondition(cells.count == columns.count, "a row of \(cells.count) cells for \(columns.count) columns")
    rows.append(cells.map { Text.printable($0 ?? "") })
  }

  /// With `none` in the place of no rows.
  func render(none: String) -> String {
    guard !rows.isEmpty else { return none + "\n" }
    let shown = columns.indices.filter { column in rows.contains { !$0[column].isEmpty } }
    let lines = [columns.map(\.title)] + rows
    let widths = shown.map { column in lines.map { $0[column].count }.max() ?? 0 }
    var text = ""
    for line in lines {
      var cells = zip(shown, widths).map { column, width in
        let padding = String(repeating: " ", count: width - line[column].count)
        return columns[column].alignment == .left ? line[column] + padding : padding + line[column]
      }
      while let last = cells.popLast() {
        // No blanks at the end of a line.
        let trimmed = last.reversed().drop { $0 == " " }.reversed()
        if trimmed.isEmpty { continue }
        cells.append(String(trimmed))
        break
      }
      text += cells.joined(separator: "  ") + "\n"
    }
    return text
  }
}
